// A file of another program, recognised by what it holds and read: `narrows import` without the
// writing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measurement/observation.h"
#include "store/foreign_logs.h"
#include "store/topology.h"

namespace narrows {

enum class ForeignKind {
  Unknown,
  NcclTests,
  Osu,
  PytorchTrace,
  Nsight,
  Store,
  Timings,      // a header and rows, or what `profile_text` writes
  KernelTable,  // as hwprofiles/kernels
  TopologyMatrix,
  NcclTopology,
  ModelConfig,  // Hugging Face's config.json
  Compressed
};
std::string to_string(ForeignKind kind);  // "nccl-tests log"

// By the text alone; an SQLite database is Unknown here (`recognise_database`).
ForeignKind recognise(std::string_view text);
bool is_sqlite(std::string_view text);
// Nsight or Store; InvalidInput for another database.
Result<ForeignKind> recognise_database(const std::string& path);

// The measurements of a log of the kinds up to KernelTable, but for Store: with origin, hash and
// `date`. The chip of a machine that is not told is the hint's.
Result<std::vector<Batch>> read_log(ForeignKind kind, std::string_view text,
                                    const std::string& path, const ImportHints& hints,
                                    const std::string& date);

// 64 bits over the content, in hexadecimal.
std::string content_hash(std::string_view content);

}  // namespace narrows

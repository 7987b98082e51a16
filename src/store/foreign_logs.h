// Readers of other programs' output, recognised by content. Each takes the text of a file and its
// name for messages, and gives batches without hash and date, which the caller knows. What is
// broken or cut off is refused in one sentence; what a log leaves open is asked for (`hints`),
// never guessed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measurement/observation.h"

namespace narrows {

// What the user says of a log that does not say it. What a log says itself must agree.
struct ImportHints {
  std::string chip;  // "" = not said
  std::optional<int> ranks;
};

// nccl-tests: the table of one *_perf program (or several logs in one file). Links by size, in
// place and out of place. The program must be named by the log ("# Collective test starting",
// "./all_reduce_perf") or by the file's name; the table's ratio of bus to algorithm bandwidth must
// agree with it.
Result<std::vector<Batch>> read_nccl_tests(std::string_view text, const std::string& name,
                                           const ImportHints& hints);

// OSU micro-benchmarks: osu_latency, osu_bw, osu_bcast, osu_allreduce, osu_allgather,
// osu_reduce_scatter, osu_alltoall. They print no number of ranks: two for a pair, else a hint.
Result<std::vector<Batch>> read_osu(std::string_view text, const std::string& name,
                                    const ImportHints& hints);

// A table of timings with a header line: op, direction, recipe (or dtype), shape (or a column for
// each part of it: m, n, k, …), us (or us_median), us_p10, us_p90, samples, chip, kernel. `# key:
// value` lines above it tell the machine. What `profile_text` (profile_text.h) writes is one.
// Rows without a time are counted.
Result<std::vector<Batch>> read_timings(std::string_view text, const std::string& name,
                                        const ImportHints& hints);

// A trace of the PyTorch profiler (Chrome trace events). Kernels are named by the operators that
// launched them, if shapes were recorded (record_shapes=True).
Result<std::vector<Batch>> read_pytorch_trace(std::string_view text, const std::string& name,
                                              const ImportHints& hints);

// An Nsight Systems report as SQLite (nsys export --type sqlite). Kernels are named by PyTorch's
// NVTX ranges with sizes (nsys profile --pytorch=autograd-shapes-nvtx, or emit_nvtx), their number
// format by their own names.
Result<std::vector<Batch>> read_nsight(const std::string& path, const ImportHints& hints);

}  // namespace narrows

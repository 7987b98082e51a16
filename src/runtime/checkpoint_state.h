// What state.json says of a checkpoint: how far training is, and a checksum of every block of the
// checkpoint's files, so that what was changed or cut off afterwards is noticed before it is used.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/checkpoint.h"

namespace narrows {

struct StateFile {
  TrainingState state;
  std::vector<std::string> names;   // of the files that hold tensors
  std::vector<std::int64_t> sizes;  // in bytes
  std::vector<std::uint64_t> sums;  // of their blocks, file by file
};

std::string text_of(const StateFile& file);
// InvalidInput where it is no state, or not the one that was written.
Result<StateFile> read_state(const std::string& checkpoint);

// Fills `sums` from the files as they lie in `folder`; each rank reads its share. A collective.
Status add_checksums(const std::string& folder, StateFile& file, Communicator& comm);
// Each rank looks at its share of the blocks; after it all are known to be good. A collective.
Status verify(const std::string& folder, const StateFile& file, Communicator& comm);

}  // namespace narrows

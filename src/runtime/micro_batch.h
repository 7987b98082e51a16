// The tokens of one micro-batch that one rank works on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace narrows {

// Rows are tokens: sequence by sequence, and of each the positions that context parallelism left to
// this rank, ascending.
struct MicroBatch {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> targets;
  std::vector<std::int32_t> positions;
  double loss_share = 0;  // of one token: 1 / the global batch's tokens
  double loss = 0;        // filled by the head: the sum over this rank's tokens, times loss_share
};

}  // namespace narrows

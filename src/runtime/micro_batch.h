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
  // The targets' successors, which multi-token prediction predicts; -1 = behind the sequence's end.
  std::vector<std::int32_t> second_targets;
  double loss_share = 0;  // of one token: 1 / the global batch's tokens
  // Filled by the head: the sum over this rank's tokens, times loss_share.
  double loss = 0;
  // Filled by a multi-token-prediction block's head, likewise, before it is weighted.
  double mtp_loss = 0;
  // Filled by routers' backward: this rank's part of the balancing loss.
  double aux_loss = 0;
};

}  // namespace narrows

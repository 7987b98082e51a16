// The generators behind library.h, one rank at a time. Sizes have been checked; `rank` counts from
// 0.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "schedule/schedule.h"

namespace narrows::families {

struct Sizes {
  int ranks = 1;
  int chunks = 1;
  int micro_batches = 1;  // of all routes together
};

Program gpipe(Sizes sizes);
Program one_f_one_b(Sizes sizes, int rank);
Program interleaved(Sizes sizes, int rank);

// ZB-H1 is `depth` 1, ZB-H2 is 2: rank r starts with depth (p-1-r) forwards and holds W back by
// depth r micro-batches.
Program zero_bubble(Sizes sizes, int rank, int depth);
Program zero_bubble_v(Sizes sizes, int rank);

Program dual_pipe(Sizes sizes, int rank);
Program dual_pipe_v(Sizes sizes, int rank);

inline Instruction forward(int chunk, int micro_batch) {
  return {.action = Action::Forward, .chunk = chunk, .micro_batch = micro_batch};
}
inline Instruction input_grad(int chunk, int micro_batch) {
  return {.action = Action::InputGrad, .chunk = chunk, .micro_batch = micro_batch};
}
inline Instruction weight_grad(int chunk, int micro_batch) {
  return {.action = Action::WeightGrad, .chunk = chunk, .micro_batch = micro_batch};
}
inline Instruction backward(int chunk, int micro_batch) {
  return {.action = Action::Backward, .chunk = chunk, .micro_batch = micro_batch};
}

}  // namespace narrows::families

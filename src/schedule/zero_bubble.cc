// The zero-bubble schedules: the backward is split, and W fills the gaps that wait for gradients.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "schedule/families.h"

namespace narrows::families {

Program zero_bubble(Sizes sizes, int rank, int depth) {
  const int m = sizes.micro_batches;
  const int warm_up = std::min(depth * (sizes.ranks - 1 - rank), m);
  const int lag = depth * rank;
  Program program;
  for (int i = 0; i < warm_up; ++i) program.push_back(forward(0, i));
  for (int i = 0; i < m; ++i) {
    if (warm_up + i < m) program.push_back(forward(0, warm_up + i));
    program.push_back(input_grad(0, i));
    if (i >= lag) program.push_back(weight_grad(0, i - lag));
  }
  for (int i = std::max(m - lag, 0); i < m; ++i) program.push_back(weight_grad(0, i));
  return program;
}

namespace {

// One rank of ZB-V: counts what each of its two chunks has done. An instruction beyond the last
// micro-batch is left out, so that short steps keep the order of full ones.
class VRank {
 public:
  explicit VRank(int micro_batches) : micro_batches_(micro_batches) {}

  void run(Action action, int chunk) {
    int& next = next_[static_cast<int>(action)][chunk];
    if (next < micro_batches_) {
      program_.push_back({.action = action, .chunk = chunk, .micro_batch = next});
    }
    ++next;
  }
  void forward_and_backward(int chunk) {
    run(Action::Forward, chunk);
    backward(chunk);
  }
  void backward(int chunk) {
    run(Action::InputGrad, chunk);
    run(Action::WeightGrad, chunk);
  }
  void finish(int chunk) {
    while (done(Action::WeightGrad, chunk) < micro_batches_) run(Action::WeightGrad, chunk);
  }
  int done(Action action, int chunk) const { return next_[static_cast<int>(action)][chunk]; }
  Program take() { return std::move(program_); }

 private:
  int micro_batches_;
  int next_[3][2] = {};
  Program program_;
};

}  // namespace

// qi2024, section 4: fill the V, run F I W of both chunks in turn, then drain I before W. The fill
// is sized for 2p-1 micro-batches.
Program zero_bubble_v(Sizes sizes, int rank) {
  const int p = sizes.ranks;
  const int full = std::max(sizes.micro_batches, 2 * p - 1);
  VRank v(sizes.micro_batches);
  for (int i = 0; i < 2 * (p - rank) - 1; ++i) v.run(Action::Forward, 0);
  for (int i = 0; i < rank; ++i) {
    v.run(Action::Forward, 1);
    v.run(Action::Forward, 0);
  }
  for (int i = 0; i < p - rank; ++i) v.forward_and_backward(1);
  while (v.done(Action::Forward, 1) < full) {
    if (v.done(Action::Forward, 0) < full) v.run(Action::Forward, 0);
    v.backward(0);
    v.forward_and_backward(1);
  }
  for (int i = 0; i < rank; ++i) {
    v.run(Action::InputGrad, 0);
    v.run(Action::InputGrad, 1);
  }
  for (int i = 0; i < p - rank; ++i) v.backward(0);
  v.finish(1);
  v.finish(0);
  return v.take();
}

}  // namespace narrows::families

// How fast this processor is just now: a small matmul, always the same, on memory of its own that
// is warm. On a machine that others use too (a neighbour on the same core counts, whom no operating
// system shows) it tells one moment's pace from another's: the profiler times it beside every
// sample, a training beside every step.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/large_memory.h"
#include "base/units.h"
#include "runtime/backend.h"

namespace narrows {

class Calibration {
 public:
  explicit Calibration(Backend& backend);  // borrows

  // Wall time of one matmul of 160 x 160 x 160 in f32, about 0.05 ms on a core: the mean of `runs`.
  // As many run before them, untimed, to bring memory and code back, which others displaced.
  Seconds time(int runs = 1);
  void run();  // one matmul

  static constexpr Bytes kTraffic = 3 * 160 * 160 * 4 * byte;  // both operands and the result

 private:
  Backend& backend_;
  LargeVector<float> a_, b_, c_;
};

}  // namespace narrows

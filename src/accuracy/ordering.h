// Whether predictions put layouts in the right order. A job is one training (model, chip, GPUs,
// sequence, batch, recipe, stack and its date, source); its runs differ in their layout only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "accuracy/run.h"

namespace narrows {

struct Ordering {
  int jobs = 0;   // with three layouts or more
  int pairs = 0;  // of their runs whose measured times differ by more than 3 %
  int right = 0;  // pairs that the predictions put in the measured order
};

// `predicted`: seconds of every run; runs at 0 do not count.
Ordering ordering_of(const std::vector<const Run*>& runs, const std::vector<double>& predicted);

}  // namespace narrows

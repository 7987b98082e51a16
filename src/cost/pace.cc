// SPDX-License-Identifier: Apache-2.0
#include "cost/pace.h"

#include <algorithm>

#include "cost/load.h"

namespace narrows {

double load_slowdown(const Chip& chip) {
  const Result<FlopRate> peak = peak_rate(chip, "bf16");
  if (!peak || !chip.sustained_rate) return 1;
  return std::max(1.0, *peak / chip.sustained_rate->value);
}

double slowest_of(const Chip& chip, int chips) {
  if (!chip.spread || chips < 2) return 1;
  return 1 + chip.spread->value * expected_maximum_of_normals(chips);
}

double load_slowdown(double full, double duty) {
  // Power of what does not multiply (memory-bound kernels, waiting for links), over the limit.
  constexpr double kRest = 0.6;
  const double power = full * full * full;  // of multiplying at the rated clock, over the limit
  const double left = 1 - (1 - duty) * kRest;
  if (duty <= 0 || duty * power <= left) return 1;
  // The cube root of their ratio, by Newton's method from above.
  const double cube = duty * power / left;
  double root = full;
  for (int i = 0; i < 8; ++i) root -= (root - cube / (root * root)) / 3;
  return std::min(root, full);
}

}  // namespace narrows

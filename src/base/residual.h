// How far a prediction is from a measurement, in one number that treats too high and too low alike:
// r = (p - m) / sqrt(p m) = k^(1/2) - k^(-1/2) for a ratio k = p / m. Near 1 it is the relative
// error; unlike a logarithm it needs nothing but division and a square root, so it is the same on
// every machine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

namespace narrows {

// Both must be positive.
inline double residual_of(double predicted, double measured) {
  return (predicted - measured) / std::sqrt(predicted * measured);
}

// The ratio whose residual is `residual`: 1 for 0, below 1 for a negative one.
inline double ratio_of(double residual) {
  const double root = 0.5 * (residual + std::sqrt(residual * residual + 4));
  return root * root;
}

}  // namespace narrows

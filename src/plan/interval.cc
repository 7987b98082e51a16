// SPDX-License-Identifier: Apache-2.0
#include "plan/interval.h"

#include <cmath>

#include "base/residual.h"

namespace narrows {
namespace {

// Half the width of a 90 % interval in standard deviations, were errors normal.
constexpr double kNinetyPercent = 1.645;

double kernels_square(double relative_error) {
  const double half = kNinetyPercent * relative_error;
  return half * half;
}

}  // namespace

double interval_ratio(double spread, double relative_error) {
  const double beyond = residual_of(spread, 1);
  return ratio_of(std::sqrt(beyond * beyond + kernels_square(relative_error)));
}

double unexplained_square(double ratio, double relative_error) {
  const double residual = residual_of(ratio, 1);
  return residual * residual - kernels_square(relative_error);
}

}  // namespace narrows

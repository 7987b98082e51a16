// The 90 % interval of a forecast: [step / r, step * r]. Two independent causes widen it: the
// expected error of the kernels that the forecast rests on, and how far the training stack's
// forecasts went wrong beyond that on runs that no fit had seen (SoftwareProfile::spread).
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace narrows {

// r, at least 1. `spread` is the stack's ratio (1 = none), `relative_error` the kernels' standard
// error as a share of the step.
double interval_ratio(double spread, double relative_error);

// The other way round: the square of the residual (base/residual.h) that the stack's spread must
// explain for the interval to just hold a forecast that is off by `ratio`. Not positive where the
// kernels' error alone is enough.
double unexplained_square(double ratio, double relative_error);

}  // namespace narrows

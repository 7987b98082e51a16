// Elementary functions in double, from + - * / only, for tables and single values (a rotation's
// angles, a row's log-sum-exp, a learning rate): the same bytes on every machine. Relative error
// below 1e-14.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace narrows::kernels {

double exponential(double x);
double natural_logarithm(double x);          // x > 0
double power(double base, double exponent);  // base > 0

struct SineCosine {
  double sine = 0;
  double cosine = 1;
};
SineCosine sine_cosine(double angle);  // |angle| below 1e9

}  // namespace narrows::kernels

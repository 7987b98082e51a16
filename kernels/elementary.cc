// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementary.h"

#include <cmath>
#include <cstdint>

namespace narrows::kernels {
namespace {

constexpr double kLn2High =
    6.93147180369123816490e-01;  // ln 2 in two parts, the first exact in 32 bits
constexpr double kLn2Low = 1.90821492927058770002e-10;
// pi / 2 in three parts of 33 bits each.
constexpr double kHalfPi1 = 1.57079632673412561417e+00;
constexpr double kHalfPi2 = 6.07710050630396597660e-11;
constexpr double kHalfPi3 = 2.02226624879595063154e-21;

}  // namespace

double exponential(double x) {
  if (x < -745) return 0;
  const double whole = std::floor(x / (kLn2High + kLn2Low) + 0.5);
  const double rest = (x - whole * kLn2High) - whole * kLn2Low;
  double sum = 1;
  for (int n = 18; n > 0; --n) sum = 1 + sum * rest / n;  // Taylor, |rest| < 0.35
  return std::ldexp(sum, static_cast<int>(whole));
}

double natural_logarithm(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < 0.70710678118654752) {
    mantissa *= 2;
    --exponent;
  }
  // ln m = 2 atanh((m - 1) / (m + 1)), whose argument is below 0.172.
  const double z = (mantissa - 1) / (mantissa + 1);
  constexpr double kInverse[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                                 1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};
  const double square = z * z;
  double sum = 0;
  for (const double inverse : kInverse) sum = sum * square + inverse;
  return exponent * kLn2High + (exponent * kLn2Low + 2 * z * sum);
}

double power(double base, double exponent) {
  return exponential(exponent * natural_logarithm(base));
}

SineCosine sine_cosine(double angle) {
  const double quarter = std::floor(angle / kHalfPi1 + 0.5);
  const double rest = ((angle - quarter * kHalfPi1) - quarter * kHalfPi2) - quarter * kHalfPi3;
  const double square = rest * rest;
  double sine = 1;
  double cosine = 1;
  for (int n = 20; n > 1; n -= 2) {  // Taylor, |rest| < 0.79
    sine = 1 - sine * square / (n * (n + 1));
    cosine = 1 - cosine * square / (n * (n - 1));
  }
  sine *= rest;
  switch (static_cast<std::int64_t>(quarter) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

}  // namespace narrows::kernels

// SPDX-License-Identifier: Apache-2.0
#include "cost/load.h"

#include <algorithm>
#include <cmath>

#include "base/result.h"

namespace narrows {

namespace {

// exp(-x) for x >= 0 from + and * alone: halved until small, then its series, then squared back.
double exp_of_minus(double x) {
  int halvings = 0;
  for (; x > 0.5; x /= 2) ++halvings;
  double term = 1;
  double sum = 1;
  for (int i = 1; i <= 16; ++i) {
    term *= -x / i;
    sum += term;
  }
  for (; halvings > 0; --halvings) sum *= sum;
  return sum;
}

double normal_density(double x) {
  constexpr double kOneOverSqrtTwoPi = 0.39894228040143267794;
  return kOneOverSqrtTwoPi * exp_of_minus(x * x / 2);
}

double power(double base, int exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 == 1) result *= base;
  }
  return result;
}

// The variance of the marked among `draws` distinct of `size`.
double hypergeometric_variance(double size, double marked, double draws) {
  if (size <= 1) return 0;
  const double share = marked / size;
  return draws * share * (1 - share) * (size - draws) / (size - 1);
}

}  // namespace

double expected_maximum_of_normals(int count) {
  ASSERT(count >= 1);
  // E max = integral over x of [x > 0] - F(x)^count, with F summed on the way (trapezoids).
  constexpr int kSteps = 3200;
  constexpr double kReach = 8;
  constexpr double kStep = 2 * kReach / kSteps;
  double below = 0;
  double integral = 0;
  double density = normal_density(-kReach);
  for (int i = 0; i < kSteps; ++i) {
    const double next = normal_density(-kReach + kStep * (i + 1));
    const double above = std::min(1.0, below + kStep * (density + next) / 2);
    const double at_both = power(below, count) + power(above, count);
    integral += kStep * ((i < kSteps / 2 ? 0.0 : 1.0) - at_both / 2);
    below = above;
    density = next;
  }
  return count == 1 ? 0.0 : integral;
}

double copies_variance(const RouterShape& routing, int ep, const GroupCounts& counts) {
  const int groups = is_group_limited(routing) ? routing.groups : 1;
  const double size = static_cast<double>(routing.experts) / groups;
  const double marked = static_cast<double>(routing.experts) / ep;
  const double mean = static_cast<double>(routing.top_k) / groups;  // of a group
  double between = 0;                                               // variance of a group's count
  double inside = 0;  // mean variance of the marked, given the group's count
  for (const GroupCounts::Row& row : counts.rows) {
    for (const int taken : row.experts) {
      between += row.share / groups * (taken - mean) * (taken - mean);
      inside += row.share / groups * hypergeometric_variance(size, std::min(marked, size), taken);
    }
  }
  if (marked <= size) return inside + between * (marked / size) * (marked / size);
  // A rank of several groups: the counts of all groups sum to top_k, so that they are negatively
  // correlated.
  const double owned = marked / size;
  return owned * between * (1 - (owned - 1) / (groups - 1));
}

double expected_max_over_mean(const RouterShape& routing, int ep, double tokens,
                              const GroupCounts& counts, double expert_spread) {
  if (ep < 2 || tokens <= 0) return 1;
  const double all = tokens * ep;
  const double mean = all * routing.top_k / ep;
  const double drawn = all * copies_variance(routing, ep, counts) / (mean * mean);
  const double experts = static_cast<double>(routing.experts) / ep;
  const double popular = expert_spread * expert_spread / experts;
  // The ranks' rows have a fixed sum: a correlation of -1 / (ep - 1), which widens their
  // differences. Popularity is independent before it is brought to that sum, so that its deviations
  // lose what the drawn ones have.
  const double variance = drawn * ep / (ep - 1.0) + popular;
  return 1 + expected_maximum_of_normals(ep) * std::sqrt(variance);
}

double expected_max_over_mean(const RouterShape& routing, int ep, double tokens,
                              double expert_spread) {
  return expected_max_over_mean(routing, ep, tokens, sample_groups(routing), expert_spread);
}

}  // namespace narrows

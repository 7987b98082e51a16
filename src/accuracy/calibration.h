// The fitted constants of training stacks: every figure that carries bounds in a profile of a
// family is fitted to the rows of the family, all at once, by fit.h. Rows of a stack that no
// profile names take no part. A group of runs weighs as the square root of its size, so that a
// sweep of hundreds of rows does not drown the others.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "accuracy/run_set.h"
#include "base/json.h"

namespace narrows {

// Limits that keep fitting honest: a constant needs this many rows, a family has at most so many.
inline constexpr int kRowsPerConstant = 30;
inline constexpr int kMostConstants = 5;

struct FittedConstant {
  FigureName name;
  double value = 0;  // SI units, rounded to four digits; this and what follows
  double prior = 0;  // before the fit
  FitBounds bounds;
  double standard_error = 0;
  int rows = 0;  // that it was fitted to: those whose profile has the figure
  int groups = 0;
};

struct FamilyFit {
  std::string family;
  std::vector<std::size_t> rows;  // of the set, ascending
  std::vector<FittedConstant> constants;
};

struct FitTask {
  std::string family;
  std::string without;           // a group that is left out; "" = none
  std::vector<double> measured;  // seconds, of every row of the set
  Figures start;                 // where the constants begin, else at the priors
};

// No constants where the family has no figure with bounds.
FamilyFit fit_family(RunSet& set, const FitTask& task);

// All families of the set, fitted to the measured times.
std::vector<FamilyFit> fit_families(RunSet& set);

// Measured seconds of every row of the set.
std::vector<double> measured_of(const RunSet& set);

Figures figures_of(const std::vector<FamilyFit>& fits);

// "megatron-core: 6 constants, at most 5": what breaks the limits above; empty = nothing.
std::vector<std::string> limits_broken(const std::vector<FamilyFit>& fits);

// {"value", "prior", "low", "high", "standard_error", "rows", "groups"}.
Json to_json(const FittedConstant& constant);

}  // namespace narrows

// A fit of a few bounded constants to many measured times. Method: Gauss-Newton on the symmetric
// residuals of base/residual.h under Huber's loss (a row far off pulls like one at the threshold,
// not with its square), weights that let a row of a large group count less, and a weak pull towards
// the value before the fit, which decides where the rows say nothing. Derivatives are differences,
// wide ones first; a step that does not lower the loss is halved. Nothing is random: the same rows
// give the same bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace narrows {

struct FitParameter {
  double low = 0;
  double high = 1;
  double prior = 0;  // the value before the fit
  // How far the prior lets it go: the standard deviation of the pull, as a share of high - low.
  double looseness = 0.5;
};

struct FitRow {
  double measured = 0;  // positive
  double weight = 1;
};

// Predictions of all rows with the given values of the parameters; positive.
using FitModel = std::function<std::vector<double>(const std::vector<double>& values)>;

struct FitOptions {
  double threshold = 0.05;  // residual beyond which the loss grows linearly
  // Expected residual of a row: what the pull of the prior is weighed against.
  double noise = 0.05;
  int iterations = 8;
  double tolerance = 1e-3;  // ends when no parameter moves by more than this share of its range
  // Where no step helps, also look a little to either side along each parameter: the way over a
  // kink or a flat stretch that derivatives do not show.
  bool look_around = false;
};

struct Fit {
  std::vector<double> values;
  // Of each value, from the spread of the residuals that remain; as if rows were independent.
  std::vector<double> standard_errors;
  std::vector<double> predicted;  // with `values`
  int iterations = 0;
};

// `start`: where to begin, else at the priors.
Fit fit_constants(const std::vector<FitParameter>& parameters, const std::vector<FitRow>& rows,
                  const FitModel& model, const FitOptions& options = {},
                  const std::vector<double>& start = {});

}  // namespace narrows

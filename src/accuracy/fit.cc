// SPDX-License-Identifier: Apache-2.0
#include "accuracy/fit.h"

#include <algorithm>
#include <cmath>

#include "accuracy/linear.h"
#include "base/residual.h"
#include "base/result.h"

namespace narrows {
namespace {

// A step of a difference, as a share of a parameter's range: large enough to see past the kinks
// that a max() of two times makes, small enough for a slope.
constexpr double kDifference = 0.02;
constexpr int kHalvings = 5;

using Values = std::vector<double>;

// The problem in coordinates of 0 (low) to 1 (high).
class Problem {
 public:
  Problem(const std::vector<FitParameter>& parameters, const std::vector<FitRow>& rows,
          const FitModel& model, const FitOptions& options)
      : parameters_(parameters), rows_(rows), model_(model), options_(options) {}

  std::size_t size() const { return parameters_.size(); }

  Values values_at(const Values& u) const {
    Values values;
    for (std::size_t k = 0; k < u.size(); ++k) {
      const FitParameter& p = parameters_[k];
      values.push_back(p.low + u[k] * (p.high - p.low));
    }
    return values;
  }
  Values unit_of(const Values& values) const {
    Values u;
    for (std::size_t k = 0; k < values.size(); ++k) {
      const FitParameter& p = parameters_[k];
      u.push_back(std::clamp((values[k] - p.low) / (p.high - p.low), 0.0, 1.0));
    }
    return u;
  }
  Values priors() const {
    Values values;
    for (const FitParameter& p : parameters_) values.push_back(p.prior);
    return unit_of(values);
  }

  Values residuals_at(const Values& u) const {
    const Values predicted = model_(values_at(u));
    ASSERT(predicted.size() == rows_.size());
    Values residuals;
    for (std::size_t i = 0; i < rows_.size(); ++i)
      residuals.push_back(residual_of(predicted[i], rows_[i].measured));
    return residuals;
  }

  double loss(const Values& u, const Values& residuals) const {
    double sum = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const double x = std::abs(residuals[i]) / options_.threshold;
      sum += rows_[i].weight * (x <= 1 ? 0.5 * x * x : x - 0.5);
    }
    const Values prior = priors();
    for (std::size_t k = 0; k < size(); ++k) {
      const double away = u[k] - prior[k];
      sum += 0.5 * pull(k) * away * away;
    }
    return sum;
  }

  // Of the prior, in units of the loss.
  double pull(std::size_t k) const {
    const double loose = parameters_[k].looseness * options_.threshold / options_.noise;
    return 1 / (loose * loose);
  }
  // Of a row, in units of the loss's second derivative.
  double curvature(std::size_t row, double residual) const {
    const double x = std::abs(residual) / options_.threshold;
    return rows_[row].weight / std::max(1.0, x) / (options_.threshold * options_.threshold);
  }

  // parameter -> row.
  std::vector<Values> slopes_at(const Values& u, const Values& residuals) const {
    std::vector<Values> slopes;
    for (std::size_t k = 0; k < size(); ++k) {
      Values moved = u;
      const double step = u[k] + kDifference <= 1 ? kDifference : -kDifference;
      moved[k] += step;
      slopes.push_back(residuals_at(moved));
      for (std::size_t i = 0; i < residuals.size(); ++i)
        slopes.back()[i] = (slopes.back()[i] - residuals[i]) / step;
    }
    return slopes;
  }

  NormalEquations equations_at(const Values& u, const Values& residuals) const {
    const std::vector<Values> slopes = slopes_at(u, residuals);
    const Values prior = priors();
    NormalEquations equations(size());
    for (std::size_t k = 0; k < size(); ++k) {
      for (std::size_t l = 0; l < size(); ++l) {
        for (std::size_t i = 0; i < residuals.size(); ++i)
          equations.at(k, l) += curvature(i, residuals[i]) * slopes[k][i] * slopes[l][i];
      }
      equations.at(k, k) += pull(k);
      for (std::size_t i = 0; i < residuals.size(); ++i)
        equations.right[k] -= curvature(i, residuals[i]) * slopes[k][i] * residuals[i];
      equations.right[k] -= pull(k) * (u[k] - prior[k]);
    }
    return equations;
  }

 private:
  const std::vector<FitParameter>& parameters_;
  const std::vector<FitRow>& rows_;
  const FitModel& model_;
  const FitOptions& options_;
};

// The Gauss-Newton step inside the box: a parameter that stands on a bound and wants out is held.
Values step_inside(const NormalEquations& equations, const Values& u) {
  std::vector<bool> held(u.size(), false);
  for (;;) {
    const Values step = equations.solve(held);
    bool again = false;
    for (std::size_t k = 0; k < u.size(); ++k) {
      const bool out = (u[k] <= 0 && step[k] < 0) || (u[k] >= 1 && step[k] > 0);
      if (held[k] || !out) continue;
      held[k] = again = true;
    }
    if (!again) return step;
  }
}

Values moved(const Values& u, const Values& step, double share) {
  Values next;
  for (std::size_t k = 0; k < u.size(); ++k)
    next.push_back(std::clamp(u[k] + share * step[k], 0.0, 1.0));
  return next;
}

double farthest(const Values& a, const Values& b) {
  double most = 0;
  for (std::size_t k = 0; k < a.size(); ++k) most = std::max(most, std::abs(a[k] - b[k]));
  return most;
}

}  // namespace

Fit fit_constants(const std::vector<FitParameter>& parameters, const std::vector<FitRow>& rows,
                  const FitModel& model, const FitOptions& options,
                  const std::vector<double>& start) {
  const Problem problem(parameters, rows, model, options);
  Values u = start.empty() ? problem.priors() : problem.unit_of(start);
  Values residuals = problem.residuals_at(u);
  Fit fit;
  NormalEquations equations(problem.size());
  for (bool settled = parameters.empty(); !settled && fit.iterations < options.iterations;) {
    ++fit.iterations;
    equations = problem.equations_at(u, residuals);
    const Values step = step_inside(equations, u);
    const double before = problem.loss(u, residuals);
    settled = true;
    double share = 1;
    for (int i = 0; i < kHalvings; ++i, share *= 0.5) {
      const Values next = moved(u, step, share);
      const double distance = farthest(u, next);
      if (distance < options.tolerance) break;
      const Values after = problem.residuals_at(next);
      if (!(problem.loss(next, after) < before)) continue;
      u = next;
      residuals = after;
      settled = false;
      break;
    }
  }
  fit.values = problem.values_at(u);
  // The loss is in units in which `threshold` is a row's noise; what remains says what it is.
  double spread = 0, weight = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double x = std::min(std::abs(residuals[i]) / options.threshold, 2.0);
    spread += rows[i].weight * x * x;
    weight += rows[i].weight;
  }
  const double variance = weight > 0 ? spread / weight : 0;
  const Values diagonal = equations.inverse_diagonal();
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const double range = parameters[k].high - parameters[k].low;
    fit.standard_errors.push_back(range * std::sqrt(variance * diagonal[k]));
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    fit.predicted.push_back(rows[i].measured * ratio_of(residuals[i]));
  return fit;
}

}  // namespace narrows

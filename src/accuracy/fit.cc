// SPDX-License-Identifier: Apache-2.0
#include "accuracy/fit.h"

#include <algorithm>
#include <cmath>

#include "accuracy/linear.h"
#include "base/residual.h"
#include "base/result.h"

namespace narrows {
namespace {

// Steps of differences, as shares of a parameter's range: at first large enough to see past the
// kinks and flat stretches that a max() of two times makes, then small enough for a slope.
constexpr double kWide = 0.1;
constexpr double kNarrow = 0.02;
constexpr int kWideIterations = 2;
constexpr int kHalvings = 5;
constexpr double kLooks[] = {0.15, 0.05, 0.015};

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
  std::vector<Values> slopes_at(const Values& u, const Values& residuals, double width) const {
    std::vector<Values> slopes;
    for (std::size_t k = 0; k < size(); ++k) {
      Values moved = u;
      const double step = u[k] + width <= 1 ? width : -width;
      moved[k] += step;
      slopes.push_back(residuals_at(moved));
      for (std::size_t i = 0; i < residuals.size(); ++i)
        slopes.back()[i] = (slopes.back()[i] - residuals[i]) / step;
    }
    return slopes;
  }

  NormalEquations equations_at(const Values& u, const Values& residuals, double width) const {
    const std::vector<Values> slopes = slopes_at(u, residuals, width);
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

// A point and what it leaves.
struct Place {
  Values u;
  Values residuals;
  double loss = 0;
};

Place place_at(const Problem& problem, Values u) {
  Place place{std::move(u), {}, 0};
  place.residuals = problem.residuals_at(place.u);
  place.loss = problem.loss(place.u, place.residuals);
  return place;
}

// Along the step, halved until it helps; false if it never does.
bool advance(const Problem& problem, const Values& step, double tolerance, Place& place) {
  double share = 1;
  for (int i = 0; i < kHalvings; ++i, share *= 0.5) {
    Values next = moved(place.u, step, share);
    if (farthest(place.u, next) < tolerance) return false;
    Place there = place_at(problem, std::move(next));
    if (!(there.loss < place.loss)) continue;
    place = std::move(there);
    return true;
  }
  return false;
}

// To either side along one parameter after the other; false if nothing is better.
bool look_around(const Problem& problem, Place& place) {
  bool better = false;
  for (std::size_t k = 0; k < problem.size(); ++k) {
    for (const double look : kLooks) {
      for (const double side : {look, -look}) {
        Values step(problem.size());
        step[k] = side;
        Place there = place_at(problem, moved(place.u, step, 1));
        if (!(there.loss < place.loss)) continue;
        place = std::move(there);
        better = true;
      }
    }
  }
  return better;
}

// Variances of the coordinates, were rows independent: the loss is in units in which `threshold` is
// a row's noise; what remains says what it is.
Values variances(const NormalEquations& equations, const std::vector<FitRow>& rows,
                 const Values& residuals, double threshold) {
  double spread = 0, weight = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double x = std::min(std::abs(residuals[i]) / threshold, 2.0);
    spread += rows[i].weight * x * x;
    weight += rows[i].weight;
  }
  Values diagonal = equations.inverse_diagonal();
  for (double& v : diagonal) v *= weight > 0 ? spread / weight : 0;
  return diagonal;
}

}  // namespace

Fit fit_constants(const std::vector<FitParameter>& parameters, const std::vector<FitRow>& rows,
                  const FitModel& model, const FitOptions& options,
                  const std::vector<double>& start) {
  const Problem problem(parameters, rows, model, options);
  Place place = place_at(problem, start.empty() ? problem.priors() : problem.unit_of(start));
  Fit fit;
  NormalEquations equations(problem.size());
  for (bool settled = parameters.empty(); !settled && fit.iterations < options.iterations;) {
    const double width = fit.iterations < kWideIterations ? kWide : kNarrow;
    ++fit.iterations;
    equations = problem.equations_at(place.u, place.residuals, width);
    const Values step = step_inside(equations, place.u);
    settled = !advance(problem, step, options.tolerance, place) &&
              !(options.look_around && look_around(problem, place));
  }
  fit.values = problem.values_at(place.u);
  const Values variance = variances(equations, rows, place.residuals, options.threshold);
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const double range = parameters[k].high - parameters[k].low;
    fit.standard_errors.push_back(range * std::sqrt(variance[k]));
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    fit.predicted.push_back(rows[i].measured * ratio_of(place.residuals[i]));
  return fit;
}

}  // namespace narrows

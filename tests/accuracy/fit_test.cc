// SPDX-License-Identifier: Apache-2.0
#include "accuracy/fit.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "accuracy/linear.h"
#include "base/random.h"
#include "base/residual.h"

namespace narrows {
namespace {

using Values = std::vector<double>;

// t_i = a * x_i + b * y_i, as times are sums of work over rates.
struct Line {
  Values x, y;
  std::vector<FitRow> rows;

  FitModel model() const {
    return [this](const Values& v) {
      Values t;
      for (std::size_t i = 0; i < x.size(); ++i) t.push_back(v[0] * x[i] + v[1] * y[i]);
      return t;
    };
  }
};

Line line_with(double a, double b, int n) {
  Line line;
  Random random(7);
  for (int i = 0; i < n; ++i) {
    line.x.push_back(0.5 + random.uniform());
    line.y.push_back(0.5 + random.uniform());
    line.rows.push_back({a * line.x.back() + b * line.y.back(), 1});
  }
  return line;
}

const std::vector<FitParameter> kFree = {{0.1, 10, 1}, {0.1, 10, 1}};

}  // namespace

TEST_CASE("residual: too high and too low by one ratio are alike, and the ratio comes back") {
  CHECK(residual_of(2, 1) == Approx(-residual_of(1, 2)));
  CHECK(residual_of(1.01, 1) == Approx(0.01).epsilon(0.01));
  for (const double ratio : {0.2, 0.9, 1.0, 1.3, 5.0})
    CHECK(ratio_of(residual_of(ratio * 3, 3)) == Approx(ratio));
}

TEST_CASE("linear: solves what was multiplied, and holds what is held") {
  NormalEquations e(2);
  e.at(0, 0) = 4;
  e.at(0, 1) = e.at(1, 0) = 1;
  e.at(1, 1) = 3;
  e.right = {4 * 2 + 1 * -1, 1 * 2 + 3 * -1};
  const Values x = e.solve({false, false});
  CHECK((x[0] == Approx(2) && x[1] == Approx(-1)));
  const Values held = e.solve({false, true});
  CHECK((held[0] == Approx(7.0 / 4) && held[1] == 0));
  // The inverse is (3, -1; -1, 4) / 11.
  CHECK(e.inverse_diagonal()[0] == Approx(3.0 / 11));
  CHECK(e.inverse_diagonal()[1] == Approx(4.0 / 11));
}

TEST_CASE("fit: exact data give the constants back") {
  const Line line = line_with(3, 0.7, 200);
  const Fit fit = fit_constants(kFree, line.rows, line.model());
  CHECK(fit.values[0] == Approx(3).epsilon(0.02));
  CHECK(fit.values[1] == Approx(0.7).epsilon(0.05));
}

TEST_CASE("fit: one row in ten that is off by five hardly moves it") {
  Line line = line_with(3, 0.7, 300);
  for (std::size_t i = 0; i < line.rows.size(); i += 10) line.rows[i].measured *= 5;
  const Fit fit = fit_constants(kFree, line.rows, line.model());
  CHECK(fit.values[0] + fit.values[1] == Approx(3.7).epsilon(0.03));
}

TEST_CASE("fit: a constant beyond its bound stays on it, the other makes up") {
  const Line line = line_with(3, 1, 200);
  const Fit fit = fit_constants({{0.1, 2, 1}, {0.1, 10, 1}}, line.rows, line.model());
  CHECK(fit.values[0] == Approx(2));
  CHECK(fit.values[1] > 1.5);
}

TEST_CASE("fit: what no row depends on stays at its prior, with no pretence of knowing it") {
  Line line = line_with(3, 1, 50);
  line.y.assign(line.y.size(), 0.0);
  for (std::size_t i = 0; i < line.rows.size(); ++i) line.rows[i].measured = 3 * line.x[i] * 1.02;
  const Fit fit = fit_constants(kFree, line.rows, line.model());
  CHECK(fit.values[1] == Approx(1));
  CHECK(fit.standard_errors[1] > 10 * fit.standard_errors[0]);
}

TEST_CASE("fit: rows weigh as they are told") {
  // Two kinds of rows want 1 and 2.
  const std::vector<FitRow> rows = {{1, 100}, {2, 1}, {2, 1}};
  const FitModel model = [](const Values& v) { return Values(3, v[0]); };
  CHECK(fit_constants({{0.5, 4, 1.5}}, rows, model).values[0] == Approx(1).epsilon(0.03));
}

TEST_CASE("fit: looking around finds the way over a flat stretch") {
  // A floor that binds from 0.4 on only.
  const std::vector<FitRow> rows(20, FitRow{0.8, 1});
  const FitModel model = [](const Values& v) { return Values(20, std::max(0.55, v[0])); };
  FitOptions options;
  options.iterations = 12;
  options.look_around = true;
  CHECK(fit_constants({{0, 1, 0.5}}, rows, model, options).values[0] == Approx(0.8).epsilon(0.03));
}

TEST_CASE("fit: the same twice, and from another start nearly so") {
  const Line line = line_with(2, 5, 100);
  const Fit one = fit_constants(kFree, line.rows, line.model());
  CHECK(one.values == fit_constants(kFree, line.rows, line.model()).values);
  const Fit other = fit_constants(kFree, line.rows, line.model(), {}, {8, 0.2});
  CHECK(other.values[0] == Approx(one.values[0]).epsilon(0.02));
  CHECK(other.values[1] == Approx(one.values[1]).epsilon(0.02));
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "accuracy/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "accuracy/fit.h"
#include "software/figures.h"

namespace narrows {
namespace {

// Of a fit from the priors, and of one that begins near its end.
constexpr int kIterations = 12;
constexpr int kIterationsAgain = 4;

double rounded(double value) { return std::stod(fmt::format("{:.4g}", value)); }

std::vector<std::size_t> rows_to_fit(const RunSet& set, const FitTask& task) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < set.rows().size(); ++i) {
    const RunRow& row = set.rows()[i];
    if (row.family != task.family || !row.software_known) continue;
    if (task.without.empty() || row.run->group != task.without) rows.push_back(i);
  }
  return rows;
}

// The square root of a group's size is shared among its rows; the mean weight is 1.
std::vector<FitRow> weighted(const RunSet& set, const std::vector<std::size_t>& rows,
                             const std::vector<double>& measured) {
  std::map<std::string, double> sizes;
  for (const std::size_t row : rows) sizes[set.rows()[row].run->group] += 1;
  double all = 0;
  for (const auto& [group, size] : sizes) all += std::sqrt(size);
  std::vector<FitRow> weighted;
  for (const std::size_t row : rows) {
    const double share = 1 / std::sqrt(sizes.at(set.rows()[row].run->group)) / all;
    weighted.push_back({measured[row], share * static_cast<double>(rows.size())});
  }
  return weighted;
}

// Of the profiles that the rows have, in the order of their names.
std::vector<FittedConstant> constants_of(const RunSet& set, const std::vector<std::size_t>& rows) {
  std::map<FigureName, FittedConstant> constants;
  std::map<FigureName, std::set<std::string>> groups;
  for (const std::size_t row : rows) {
    const SoftwareProfile& profile = set.software_of(row);
    for (const FigureName& name : figures_to_fit(profile)) {
      FittedConstant& constant = constants[name];
      constant.name = name;
      constant.prior = constant.value = *figure_of(profile, name.field);
      constant.bounds = profile.fits.at(name.field);
      ++constant.rows;
      groups[name].insert(set.rows()[row].run->group);
      constant.groups = static_cast<int>(groups[name].size());
    }
  }
  std::vector<FittedConstant> list;
  for (const auto& [name, constant] : constants) list.push_back(constant);
  return list;
}

}  // namespace

FamilyFit fit_family(RunSet& set, const FitTask& task) {
  FamilyFit fitted{task.family, rows_to_fit(set, task), {}};
  fitted.constants = constants_of(set, fitted.rows);
  if (fitted.constants.empty()) return fitted;
  std::vector<FitParameter> parameters;
  std::vector<double> start;
  for (const FittedConstant& c : fitted.constants) {
    parameters.push_back({c.bounds.low, c.bounds.high, c.prior});
    const auto found = task.start.find(c.name);
    start.push_back(found == task.start.end() ? c.prior : found->second);
  }
  const auto model = [&](const std::vector<double>& values) {
    Figures figures;
    for (std::size_t k = 0; k < values.size(); ++k) figures[fitted.constants[k].name] = values[k];
    std::vector<double> steps;
    for (const RowPrediction& p : set.predict(fitted.rows, figures)) steps.push_back(p.step);
    return steps;
  };
  FitOptions options;
  options.iterations = task.start.empty() ? kIterations : kIterationsAgain;
  options.look_around = task.start.empty();
  const Fit fit =
      fit_constants(parameters, weighted(set, fitted.rows, task.measured), model, options, start);
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    FittedConstant& c = fitted.constants[k];
    c.value = std::clamp(rounded(fit.values[k]), c.bounds.low, c.bounds.high);
    c.standard_error = rounded(fit.standard_errors[k]);
  }
  return fitted;
}

std::vector<FamilyFit> fit_families(RunSet& set) {
  std::vector<FamilyFit> fits;
  for (const std::string& family : set.families())
    fits.push_back(fit_family(set, {family, "", measured_of(set), {}}));
  return fits;
}

std::vector<double> measured_of(const RunSet& set) {
  std::vector<double> measured;
  for (const RunRow& row : set.rows()) measured.push_back(*row.run->step / sec);
  return measured;
}

Figures figures_of(const std::vector<FamilyFit>& fits) {
  Figures figures;
  for (const FamilyFit& fit : fits) {
    for (const FittedConstant& c : fit.constants) figures[c.name] = c.value;
  }
  return figures;
}

std::vector<std::string> limits_broken(const std::vector<FamilyFit>& fits) {
  std::vector<std::string> broken;
  for (const FamilyFit& fit : fits) {
    const std::size_t constants = fit.constants.size();
    if (constants > kMostConstants)
      broken.push_back(
          fmt::format("{}: {} constants, at most {}", fit.family, constants, kMostConstants));
    if (constants * kRowsPerConstant > fit.rows.size())
      broken.push_back(fmt::format("{}: {} constants for {} rows, at least {} rows each",
                                   fit.family, constants, fit.rows.size(), kRowsPerConstant));
    for (const FittedConstant& c : fit.constants) {
      if (c.rows < kRowsPerConstant)
        broken.push_back(fmt::format("{}.{}: {} rows, at least {}", c.name.profile, c.name.field,
                                     c.rows, kRowsPerConstant));
    }
  }
  return broken;
}

Json to_json(const FittedConstant& constant) {
  const auto figure = [&](double value) { return rounded_figure(constant.name.field, value); };
  Json json = Json::object();
  json.set("value", figure(constant.value));
  json.set("prior", figure(constant.prior));
  json.set("low", figure(constant.bounds.low));
  json.set("high", figure(constant.bounds.high));
  json.set("standard_error", figure(constant.standard_error));
  json.set("rows", constant.rows);
  json.set("groups", constant.groups);
  return json;
}

}  // namespace narrows

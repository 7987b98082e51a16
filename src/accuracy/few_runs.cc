// SPDX-License-Identifier: Apache-2.0
#include "accuracy/few_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "accuracy/fit.h"
#include "accuracy/statistics.h"
#include "software/figures.h"

namespace narrows {
namespace {

// What differs between two clusters that run one stack: the pace of kernels (clocks, cooling, the
// release of a library) and what the host costs. Each by how far it may go either way.
std::map<std::string, double> loosened() {
  return {{"attention_slowdown", 2},
          {"collective_slowdown", 2},
          {"host_op", 2},
          {"matmul_slowdown", 1.6},
          {"stream_slowdown", 2}};
}

// One standard deviation of the prior as a share of a figure's range, and of a measured step.
constexpr double kLooseness = 0.1;
constexpr double kNoise = 0.05;

struct Learnt {
  Figures figures;
  std::vector<double> steps;  // of the rows that were learnt from
};

// From the given rows of the set, all at once.
Learnt learn(RunSet& set, const std::vector<std::size_t>& rows) {
  std::map<FigureName, FitParameter> found;
  std::vector<FitRow> measured;
  for (const std::size_t row : rows) {
    const SoftwareProfile& profile = set.software_of(row);
    measured.push_back({*set.rows()[row].run->step / sec, 1});
    for (const FigureName& name : figures_to_fit(profile)) {
      const FitBounds& bounds = profile.fits.at(name.field);
      found[name] = {bounds.low, bounds.high, *figure_of(profile, name.field), kLooseness};
    }
  }
  std::vector<FigureName> names;
  std::vector<FitParameter> parameters;
  for (const auto& [name, parameter] : found) {
    names.push_back(name);
    parameters.push_back(parameter);
  }
  const auto figures_with = [&](const std::vector<double>& values) {
    Figures figures;
    for (std::size_t k = 0; k < values.size(); ++k) figures[names[k]] = values[k];
    return figures;
  };
  const auto model = [&](const std::vector<double>& values) {
    std::vector<double> steps;
    for (const RowPrediction& p : set.predict(rows, figures_with(values))) steps.push_back(p.step);
    return steps;
  };
  FitOptions options;
  options.noise = kNoise;
  const Fit fit = fit_constants(parameters, measured, model, options);
  return {figures_with(fit.values), fit.predicted};
}

std::vector<std::size_t> supported(const RunSet& set) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < set.rows().size(); ++i) {
    if (set.rows()[i].unsupported.empty()) rows.push_back(i);
  }
  return rows;
}

double median_error(const RunSet& set, const std::vector<std::size_t>& rows,
                    const std::vector<double>& steps) {
  std::vector<double> errors;
  for (std::size_t i = 0; i < rows.size(); ++i)
    errors.push_back(std::abs(steps[i] / (*set.rows()[rows[i]].run->step / sec) - 1));
  return median(errors).value_or(0);
}

// Calibration rows by (group, chip): the first `count` by order of id.
std::map<std::pair<std::string, std::string>, std::vector<std::size_t>> lessons(const RunSet& set,
                                                                                int count) {
  std::map<std::pair<std::string, std::string>, std::vector<std::size_t>> cells;
  for (const std::size_t row : supported(set)) {
    const Run& run = *set.rows()[row].run;
    cells[{run.group, run.hardware.chip}].push_back(row);
  }
  for (auto& [key, rows] : cells) {
    std::sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
      return set.rows()[a].run->id < set.rows()[b].run->id;
    });
    rows.resize(std::min(rows.size(), static_cast<std::size_t>(count)));
  }
  return cells;
}

// What a few steps teach is about their own model: what is left over after the published fit
// differs more from model to model than from cluster to cluster (docs/accuracy.md).
using Lesson = std::tuple<std::string, std::string, std::string>;  // group, chip, model
Lesson lesson_of(const Run& run) {
  return {run.group, run.hardware.chip, run.model ? run.model->name : ""};
}

}  // namespace

Result<FewRunsFit> fit_to_runs(const std::vector<Run>& runs, const RunInputs& inputs,
                               const std::optional<SoftwareProfile>& start) {
  RunInputs loose = inputs;
  loose.loosened = loosened();
  loose.software = start;
  RunSet set(runs, loose);
  const std::vector<std::size_t> rows = supported(set);
  if (rows.empty()) {
    const std::string why =
        set.rows().empty() ? "no record has a step time" : set.rows().front().unsupported;
    return invalid(fmt::format("steps: expected at least one that can be predicted: {}", why));
  }
  for (const std::size_t row : rows) {
    const std::string &first = set.software_of(rows.front()).name,
                      &other = set.software_of(row).name;
    if (first != other)
      return invalid(
          fmt::format("steps: expected those of one training stack, found \"{}\" and "
                      "\"{}\"; --software names one",
                      first, other));
  }
  FewRunsFit fit;
  fit.software = set.software_of(rows.front());
  std::vector<double> before;
  for (const RowPrediction& p : set.predict(rows, {})) before.push_back(p.step);
  const Learnt learnt = learn(set, rows);
  for (const auto& [name, value] : learnt.figures) {
    set_figure(fit.software, name.field, value);
    fit.figures.push_back(name.field);
    std::string& source = fit.software.sources[name.field];
    source += fmt::format("; calibrated to {} measured steps", rows.size());
  }
  fit.software.fits.clear();
  fit.software.fitted_in.clear();
  fit.software.name += "-calibrated";
  fit.software.source += "; calibrated to a user's own steps";
  fit.rows = static_cast<int>(rows.size());
  fit.median_before = median_error(set, rows, before);
  fit.median_after = median_error(set, rows, learnt.steps);
  return fit;
}

Result<ValidationReport> validate_calibrated(const std::vector<Run>& runs, const RunInputs& inputs,
                                             int count, const std::string& group) {
  std::vector<Run> chosen;
  for (const Run& run : runs) {
    if (group.empty() || run.group == group) chosen.push_back(run);
  }
  if (chosen.empty()) return not_found(fmt::format("{}: expected the group of a run", group));
  RunInputs loose = inputs;
  loose.loosened = loosened();
  RunSet set(chosen, loose);
  std::map<Lesson, Figures> learnt;
  std::set<std::size_t> learnt_from;
  for (const auto& [cell, rows] : lessons(set, count)) {
    std::map<Lesson, std::vector<std::size_t>> by_model;
    for (const std::size_t row : rows) by_model[lesson_of(*set.rows()[row].run)].push_back(row);
    for (const auto& [lesson, steps] : by_model) learnt[lesson] = learn(set, steps).figures;
    learnt_from.insert(rows.begin(), rows.end());
  }
  std::vector<ValidatedRun> scored;
  for (std::size_t i = 0; i < set.rows().size(); ++i) {
    const RunRow& row = set.rows()[i];
    const auto found = learnt.find(lesson_of(*row.run));
    const Figures none;
    const Result<RunPrediction> prediction =
        set.predict_whole(i, found == learnt.end() ? none : found->second);
    scored.push_back(validated(*row.run, prediction));
    scored.back().calibration = learnt_from.count(i) > 0;
  }
  const std::size_t count_scored = scored.size();
  const Ordering ordering = ordering_of(chosen, scored);
  ValidationReport report = report_of(std::move(scored));
  report.ordering = ordering;
  report.not_scored = static_cast<int>(chosen.size() - count_scored);
  return report;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "accuracy/validation_report.h"

#include <fmt/format.h>

#include <cmath>

#include "accuracy/statistics.h"

namespace narrows {
namespace {

ValidatedRun validated(const Run& run, RunPredictor& predictor) {
  ValidatedRun out;
  out.id = run.id;
  out.group = run.group;
  out.measured = *run.step;
  out.measured_memory = run.memory;
  const Result<RunPrediction> prediction = predictor.predict(run);
  if (!prediction) {
    out.unsupported = prediction.error().message;
    return out;
  }
  out.predicted = prediction->step;
  out.error = prediction->step / *run.step - 1;
  out.predicted_memory = prediction->memory;
  out.assumed = prediction->assumed;
  return out;
}

std::optional<double> in(std::optional<Seconds> time) {
  return time ? std::optional<double>(*time / sec) : std::nullopt;
}
std::optional<double> in(std::optional<Bytes> size) {
  return size ? std::optional<double>(*size / byte) : std::nullopt;
}

Json to_json(const ValidatedRun& run) {
  Json assumed = Json::array();
  for (const std::string& what : run.assumed) assumed.push(what);
  Json json = Json::object();
  json.set("id", run.id);
  json.set("group", run.group);
  json.set("predicted_step_seconds", in(run.predicted));
  json.set("measured_step_seconds", run.measured / sec);
  json.set("error", run.error);
  json.set("predicted_memory_bytes", in(run.predicted_memory));
  json.set("measured_memory_bytes", in(run.measured_memory));
  json.set("assumed", assumed);
  json.set("calibration", run.calibration);
  json.set("unsupported", run.unsupported.empty() ? Json() : Json(run.unsupported));
  return json;
}

Json to_json(const ErrorSummary& summary) {
  Json json = Json::object();
  json.set("n", summary.n);
  json.set("unsupported", summary.unsupported);
  json.set("median_abs_error", summary.median_absolute);
  json.set("p90_abs_error", summary.p90_absolute);
  json.set("mean_signed_error", summary.mean_signed);
  json.set("spearman", summary.spearman);
  return json;
}

}  // namespace

ErrorSummary summary_of(const std::vector<ValidatedRun>& runs) {
  ErrorSummary summary;
  std::vector<double> absolute, with_unsupported, errors, predicted, measured;
  for (const ValidatedRun& run : runs) {
    if (run.calibration) continue;
    ++summary.n;
    with_unsupported.push_back(run.error ? std::abs(*run.error) : 1.0);
    if (!run.error) {
      ++summary.unsupported;
      continue;
    }
    absolute.push_back(std::abs(*run.error));
    errors.push_back(*run.error);
    predicted.push_back(*run.predicted / sec);
    measured.push_back(run.measured / sec);
  }
  summary.median_absolute = median(absolute);
  summary.p90_absolute = quantile(with_unsupported, 0.9);
  summary.mean_signed = mean(errors);
  summary.spearman = spearman(predicted, measured);
  return summary;
}

Result<ValidationReport> validate_runs(const std::vector<Run>& runs, RunPredictor& predictor,
                                       const std::string& group) {
  ValidationReport report;
  bool known = group.empty();
  std::map<std::string, std::vector<ValidatedRun>> groups;
  for (const Run& run : runs) {
    if (!group.empty() && run.group != group) continue;
    known = true;
    if (!is_scored(run)) {
      ++report.not_scored;
      continue;
    }
    report.runs.push_back(validated(run, predictor));
    groups[run.group].push_back(report.runs.back());
  }
  if (!known) return not_found(fmt::format("{}: expected the group of a run", group));
  report.summary = summary_of(report.runs);
  for (const auto& [name, members] : groups) report.by_group[name] = summary_of(members);
  return report;
}

Json to_json(const ValidationReport& report) {
  Json runs = Json::array();
  for (const ValidatedRun& run : report.runs) runs.push(to_json(run));
  Json summary = to_json(report.summary);
  summary.set("not_scored", report.not_scored);
  Json groups = Json::object();
  for (const auto& [name, of_group] : report.by_group) groups.set(name, to_json(of_group));
  summary.set("by_group", groups);
  Json json = Json::object();
  json.set("runs", runs);
  json.set("summary", summary);
  return json;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "accuracy/validation_report.h"

#include <fmt/format.h>

#include <cmath>

#include "accuracy/statistics.h"

namespace narrows {
namespace {

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
  json.set("step_seconds_low", in(run.low));
  json.set("step_seconds_high", in(run.high));
  json.set("measured_step_seconds", run.measured / sec);
  json.set("error", run.error);
  json.set("predicted_memory_bytes", in(run.predicted_memory));
  json.set("measured_memory_bytes", in(run.measured_memory));
  json.set("predicted_memory", run.memory ? to_json(*run.memory) : Json());
  json.set("memory_capacity_bytes", in(run.capacity));
  json.set("fits", run.memory ? Json(fits(run)) : Json());
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
  json.set("coverage", summary.coverage);
  return json;
}

std::map<std::string, std::string> facets_of(const Run& run) {
  return {{"chip", run.hardware.chip.empty() ? "hidden" : run.hardware.chip},
          {"kind", run.model && run.model->moe ? "moe" : "dense"},
          {"model", run.model ? model_family(run.model->name) : "unnamed"},
          {"recipe", run.layout.recipe.empty() ? "unstated" : run.layout.recipe},
          {"software", run.software.empty() ? "unnamed" : run.software}};
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

Json to_json(const std::map<std::string, ErrorSummary>& summaries) {
  Json json = Json::object();
  for (const auto& [name, summary] : summaries) json.set(name, to_json(summary));
  return json;
}

}  // namespace

// The first word, and the second if it has letters only.
std::string model_family(const std::string& name) {
  std::string family;
  for (std::size_t i = 0; i < name.size();) {
    std::size_t end = i;
    while (end < name.size() && is_letter(name[end])) ++end;
    const bool whole = end == name.size() || name[end] == '-' || name[end] == '_';
    if (!family.empty() && (!whole || end == i || end - i < 2)) break;
    family += (family.empty() ? "" : "-") + name.substr(i, end - i);
    if (!whole || end == name.size() || family.find('-') != std::string::npos) break;
    i = end + 1;
  }
  for (char& c : family) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return family.empty() ? "unnamed" : family;
}

bool fits(const ValidatedRun& run) { return !run.memory || total(*run.memory) <= *run.capacity; }

ValidatedRun validated(const Run& run, const Result<RunPrediction>& prediction) {
  ValidatedRun out;
  out.id = run.id;
  out.group = run.group;
  out.measured = *run.step;
  out.measured_memory = run.memory;
  out.facets = facets_of(run);
  if (!prediction) {
    out.unsupported = prediction.error().message;
    return out;
  }
  out.predicted = prediction->step;
  out.low = prediction->step_low;
  out.high = prediction->step_high;
  out.error = prediction->step / *run.step - 1;
  out.memory = prediction->memory;
  out.capacity = prediction->capacity;
  const MemoryCount counts = run.memory ? run.memory_count : MemoryCount::Process;
  out.predicted_memory = counted(prediction->memory, counts);
  out.assumed = prediction->assumed;
  return out;
}

ErrorSummary summary_of(const std::vector<ValidatedRun>& runs) {
  ErrorSummary summary;
  double inside = 0;
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
    if (run.low && *run.low <= run.measured && run.measured <= *run.high) inside += 1;
  }
  if (!errors.empty()) summary.coverage = inside / static_cast<double>(errors.size());
  summary.median_absolute = median(absolute);
  summary.p90_absolute = quantile(with_unsupported, 0.9);
  summary.mean_signed = mean(errors);
  summary.spearman = spearman(predicted, measured);
  return summary;
}

namespace {

std::map<std::string, MemorySummary> memory_of(const std::vector<ValidatedRun>& runs) {
  std::map<std::string, std::vector<double>> errors;
  for (const ValidatedRun& run : runs) {
    if (!run.predicted_memory || !run.measured_memory) continue;
    const double error = *run.predicted_memory / *run.measured_memory - 1;
    errors[run.group].push_back(error);
    errors["all"].push_back(error);
  }
  std::map<std::string, MemorySummary> summaries;
  for (const auto& [group, values] : errors) {
    std::vector<double> sizes;
    for (const double value : values) sizes.push_back(std::abs(value));
    summaries[group] = {static_cast<int>(values.size()), median(sizes).value_or(0),
                        mean(values).value_or(0)};
  }
  return summaries;
}

}  // namespace

Ordering ordering_of(const std::vector<Run>& runs, const std::vector<ValidatedRun>& validated) {
  std::map<std::string, double> steps;
  for (const ValidatedRun& run : validated) {
    if (run.predicted && !run.calibration) steps[run.id] = *run.predicted / sec;
  }
  std::vector<const Run*> ordered;
  std::vector<double> predicted;
  for (const Run& run : runs) {
    const auto found = steps.find(run.id);
    if (found == steps.end() || !is_scored(run)) continue;
    ordered.push_back(&run);
    predicted.push_back(found->second);
  }
  return ordering_of(ordered, predicted);
}

ValidationReport report_of(std::vector<ValidatedRun> runs) {
  ValidationReport report;
  std::map<std::string, std::map<std::string, std::vector<ValidatedRun>>> parts;
  for (const ValidatedRun& run : runs) {
    parts["group"][run.group].push_back(run);
    for (const auto& [facet, value] : run.facets) parts[facet][value].push_back(run);
  }
  report.summary = summary_of(runs);
  for (const auto& [facet, values] : parts) {
    for (const auto& [value, members] : values) report.by_facet[facet][value] = summary_of(members);
  }
  report.by_group = report.by_facet["group"];
  report.by_facet.erase("group");
  std::vector<double> medians, coverages;
  for (const auto& [group, summary] : report.by_group) {
    if (summary.n == 0) continue;
    medians.push_back(summary.median_absolute.value_or(1));
    if (summary.coverage) coverages.push_back(*summary.coverage);
  }
  report.median_of_groups = median(medians);
  report.coverage_of_groups = mean(coverages);
  report.memory = memory_of(runs);
  for (const ValidatedRun& run : runs) {
    report.predicted += run.predicted ? 1 : 0;
    report.not_fitting += fits(run) ? 0 : 1;
  }
  report.runs = std::move(runs);
  return report;
}

Result<ValidationReport> validate_runs(const std::vector<Run>& runs, RunPredictor& predictor,
                                       const std::string& group) {
  std::vector<ValidatedRun> scored;
  int not_scored = 0;
  bool known = group.empty();
  for (const Run& run : runs) {
    if (!group.empty() && run.group != group) continue;
    known = true;
    if (is_scored(run)) {
      scored.push_back(validated(run, predictor.predict(run)));
    } else {
      ++not_scored;
    }
  }
  if (!known) return not_found(fmt::format("{}: expected the group of a run", group));
  const Ordering ordering = ordering_of(runs, scored);
  ValidationReport report = report_of(std::move(scored));
  report.ordering = ordering;
  report.not_scored = not_scored;
  return report;
}

Json to_json(const ValidationReport& report) {
  Json runs = Json::array();
  for (const ValidatedRun& run : report.runs) runs.push(to_json(run));
  Json summary = to_json(report.summary);
  summary.set("not_scored", report.not_scored);
  summary.set("median_of_group_medians", report.median_of_groups);
  summary.set("mean_of_group_coverages", report.coverage_of_groups);
  Json ordering = Json::object();
  ordering.set("jobs", report.ordering.jobs);
  ordering.set("pairs", report.ordering.pairs);
  ordering.set("right", report.ordering.right);
  summary.set("ordering", std::move(ordering));
  Json memory = Json::object();
  for (const auto& [group, s] : report.memory) {
    Json figures = Json::object();
    figures.set("n", s.n);
    figures.set("median_abs_error", s.median_absolute);
    figures.set("mean_signed_error", s.mean_signed);
    memory.set(group, std::move(figures));
  }
  summary.set("memory", std::move(memory));
  summary.set("predicted", report.predicted);
  summary.set("predicted_not_to_fit", report.not_fitting);
  summary.set("by_group", to_json(report.by_group));
  for (const auto& [facet, summaries] : report.by_facet)
    summary.set("by_" + facet, to_json(summaries));
  Json json = Json::object();
  json.set("runs", runs);
  json.set("summary", summary);
  return json;
}

}  // namespace narrows

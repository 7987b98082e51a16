// How well narrows predicts published runs: every scored run with our step time and memory beside
// the measured ones, and the errors in summary, over all and by group.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "accuracy/ordering.h"
#include "accuracy/predict_run.h"
#include "base/json.h"

namespace narrows {

struct ValidatedRun {
  std::string id;
  std::string group;
  std::optional<Seconds> predicted;  // absent: unsupported
  Seconds measured;
  std::optional<Seconds> low;  // the 90 % interval of the prediction
  std::optional<Seconds> high;
  std::optional<double> error;  // predicted / measured - 1
  // Of the fullest rank: what the measured figure counts of it, or all of it where there is none.
  std::optional<Bytes> predicted_memory;
  std::optional<Bytes> measured_memory;
  std::optional<RankMemory> memory;  // its parts
  std::optional<Bytes> capacity;     // of the GPU
  // What summaries are by, beside the group: "chip", "kind" (dense or moe), "model" (its family),
  // "recipe", "software" (the profile).
  std::map<std::string, std::string> facets;
  std::vector<std::string> assumed;
  bool calibration = false;  // software parameters were fitted to it; not in the summary
  std::string unsupported;   // why, "" = it is supported
};

struct ErrorSummary {
  int n = 0;  // scored runs, unsupported ones included
  int unsupported = 0;
  // Absent where no run is supported.
  std::optional<double> median_absolute;
  std::optional<double> p90_absolute;  // an unsupported run counts as 100 %
  std::optional<double> mean_signed;
  std::optional<double> spearman;  // of predicted and measured step times
  std::optional<double> coverage;  // the share of measured times inside the 90 % interval
};

// Whether all that the run needs is within its GPU's memory; an unsupported run is taken to fit.
bool fits(const ValidatedRun& run);

// Peak memory of the runs that print it.
struct MemorySummary {
  int n = 0;
  double median_absolute = 0;
  double mean_signed = 0;
};

struct ValidationReport {
  std::vector<ValidatedRun> runs;  // in the order of the file
  int not_scored = 0;              // without a step time, or excluded
  ErrorSummary summary;
  std::map<std::string, ErrorSummary> by_group;
  std::map<std::string, std::map<std::string, ErrorSummary>> by_facet;  // facet -> value
  std::map<std::string, MemorySummary> memory;  // by group, "all" among them; empty: none prints it
  int predicted =
      0;  // supported runs, calibration runs among them; all of them fitted, since they ran
  int not_fitting = 0;  // of these: predicted not to fit
  // Of the groups' own figures; a group without a supported run has an error of 100 %.
  std::optional<double> median_of_groups;
  std::optional<double> coverage_of_groups;  // the mean
  Ordering ordering;                         // of layouts inside jobs
};

// The summaries of runs.
ValidationReport report_of(std::vector<ValidatedRun> runs);

// Predicts every scored run (of one group, if named). NotFound if no run is of the group.
Result<ValidationReport> validate_runs(const std::vector<Run>& runs, RunPredictor& predictor,
                                       const std::string& group = "");

// The run beside its prediction; `prediction` may be an error (unsupported).
ValidatedRun validated(const Run& run, const Result<RunPrediction>& prediction);

// "Llama3.1-405B" -> "llama", "GPT-OSS-120B" -> "gpt-oss".
std::string model_family(const std::string& name);

// Of runs that may be unsupported; calibration runs do not count.
ErrorSummary summary_of(const std::vector<ValidatedRun>& runs);

// The order in which they put layouts; calibration runs do not count.
Ordering ordering_of(const std::vector<Run>& runs, const std::vector<ValidatedRun>& validated);

// The members of cli.md.
Json to_json(const ValidationReport& report);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "accuracy/account.h"

#include <fmt/format.h>

#include <string>

#include "accuracy/few_runs.h"
#include "accuracy/lookup.h"
#include "plan/interval.h"
#include "software/figures.h"
#include "software/fitted.h"

namespace narrows {
namespace {

// Which order the times are shuffled in; any would do.
constexpr std::uint64_t kShuffle = 1;
// As predict_run.cc widens the interval of a stack that no profile names.
constexpr double kUnknownSoftware = 1.5;

constexpr int kCalibrationRuns = 3;  // of each (group, chip)

using Spreads = std::map<std::string, ForecastSpread>;

ValidatedRun validated_row(const RunRow& row, const RowPrediction& predicted,
                           const Spreads& spreads) {
  if (predicted.step <= 0) return validated(*row.run, unsupported(row.unsupported));
  RunPrediction prediction;
  prediction.step = predicted.step * sec;
  const auto found = spreads.find(row.family);
  const ForecastSpread spread = found == spreads.end() ? ForecastSpread{} : found->second;
  const double within =
      interval_ratio(row.moe ? spread.moe : spread.dense, predicted.relative_error) *
      (row.software_known ? 1 : kUnknownSoftware);
  prediction.step_low = prediction.step / within;
  prediction.step_high = within * prediction.step;
  return validated(*row.run, prediction);
}

ValidationReport report_with_order(const RunSet& set, std::vector<ValidatedRun> validated) {
  std::vector<const Run*> runs;
  std::vector<double> steps;
  for (std::size_t i = 0; i < validated.size(); ++i) {
    runs.push_back(set.rows()[i].run);
    steps.push_back(validated[i].predicted ? *validated[i].predicted / sec : 0);
  }
  ValidationReport report = report_of(std::move(validated));
  report.ordering = ordering_of(runs, steps);
  return report;
}

ValidationReport report_of_rows(const RunSet& set, const std::vector<RowPrediction>& predictions,
                                const std::vector<double>& measured, const Spreads& spreads) {
  std::vector<ValidatedRun> runs;
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    runs.push_back(validated_row(set.rows()[i], predictions[i], spreads));
    ValidatedRun& run = runs.back();
    run.measured = measured[i] * sec;
    if (run.predicted) run.error = *run.predicted / run.measured - 1;
  }
  return report_with_order(set, std::move(runs));
}

// Left out, with intervals that were made without the row's group.
ValidationReport report_left_out(const RunSet& set, const std::vector<RowPrediction>& left_out) {
  std::map<std::string, Spreads> spreads;
  std::vector<ValidatedRun> runs;
  for (std::size_t i = 0; i < left_out.size(); ++i) {
    const RunRow& row = set.rows()[i];
    const std::string& group = row.run->group;
    if (spreads.count(group) == 0) spreads[group] = spreads_of(set, left_out, group);
    runs.push_back(validated_row(row, left_out[i], spreads[group]));
  }
  return report_with_order(set, std::move(runs));
}

ValidationReport report_of_lookup(const RunSet& set, bool leave_out) {
  std::vector<RowPrediction> predictions;
  for (const double step : lookup_steps(set, leave_out)) predictions.push_back({step, 0});
  return report_of_rows(set, predictions, measured_of(set), {});
}

Json to_json(const ForecastSpread& spread) {
  Json json = Json::object();
  json.set("dense", spread.dense);
  json.set("moe", spread.moe);
  return json;
}

Json summary_json(const ValidationReport& report) { return *to_json(report).find("summary"); }

// By profile, then by figure.
std::map<std::string, Json> constants_json(const Account& account, bool ranges) {
  std::map<std::string, Json> profiles;
  for (const FamilyFit& fit : account.fitted.fits) {
    for (const FittedConstant& c : fit.constants) {
      Json json = to_json(c);
      if (ranges) {
        const auto& range = account.fitted.ranges.at(c.name);
        json.set("least_left_out", rounded_figure(c.name.field, range.first));
        json.set("most_left_out", rounded_figure(c.name.field, range.second));
      }
      Json& constants = profiles.try_emplace(c.name.profile, Json::object()).first->second;
      constants.set(c.name.field, std::move(json));
    }
  }
  return profiles;
}

double rounded(double value) { return std::stod(fmt::format("{:.4g}", value)); }

// Four digits are enough of any figure that is read.
Json rounded(const Json& json) {
  if (json.kind() == Json::Kind::Number) return rounded(json.number());
  if (json.is_array()) {
    Json array = Json::array();
    for (const Json& item : json.items()) array.push(rounded(item));
    return array;
  }
  if (!json.is_object()) return json;
  Json object = Json::object();
  for (const auto& [key, value] : json.members()) object.append(key, rounded(value));
  return object;
}

}  // namespace

Result<Account> account_of(const std::vector<Run>& runs, const RunInputs& inputs) {
  RunInputs unfitted = inputs;
  unfitted.overrides.push_back(nothing_fitted());
  RunSet set(runs, unfitted);
  Account account;
  const std::vector<double> measured = measured_of(set);
  account.fitted = leave_one_group_out(set, measured);
  account.spreads = spreads_of(set, account.fitted.left_out);
  account.in_sample = report_of_rows(set, account.fitted.in_sample, measured, account.spreads);
  account.left_out = report_left_out(set, account.fitted.left_out);
  account.lookup_in_sample = report_of_lookup(set, false);
  account.lookup_left_out = report_of_lookup(set, true);
  const std::vector<double> exchanged = shuffled(set, kShuffle);
  const LeaveOut nonsense = leave_one_group_out(set, exchanged, figures_of(account.fitted.fits));
  account.shuffled = report_of_rows(set, nonsense.left_out, exchanged, {});
  account.shuffled_against_true = report_of_rows(set, nonsense.left_out, measured, {});
  RunInputs fitted = inputs;
  fitted.overrides.push_back(fitted_as(overlay_of(account)));
  account.calibrated = TRY(validate_calibrated(runs, fitted, kCalibrationRuns));
  return account;
}

Json overlay_of(const Account& account) {
  std::map<std::string, Json> profiles;
  for (const auto& [profile, constants] : constants_json(account, false))
    profiles.try_emplace(profile, Json::object()).first->second.set("constants", constants);
  for (const auto& [family, spread] : account.spreads)
    profiles.try_emplace(family, Json::object())
        .first->second.set("spread", rounded(to_json(spread)));
  Json all = Json::object();
  for (const auto& [name, json] : profiles) all.set(name, json);
  Json overlay = Json::object();
  overlay.set("about",
              "Generated by scripts/calibrate from validation/runs.jsonl and the bounds in "
              "hwprofiles/software; do not edit.");
  overlay.set("profiles", std::move(all));
  return overlay;
}

Json to_json(const Account& account) {
  Json json = Json::object();
  json.set("about", "Generated by scripts/calibrate; docs/accuracy.md is made of it.");
  Json constants = Json::object();
  for (const auto& [profile, figures] : constants_json(account, true))
    constants.set(profile, figures);
  json.set("constants", std::move(constants));
  json.set("in_sample", summary_json(account.in_sample));
  json.set("left_out", summary_json(account.left_out));
  json.set("calibrated", summary_json(account.calibrated));
  json.set("lookup_in_sample", summary_json(account.lookup_in_sample));
  json.set("lookup_left_out", summary_json(account.lookup_left_out));
  json.set("shuffled", summary_json(account.shuffled));
  json.set("shuffled_against_true", summary_json(account.shuffled_against_true));
  return rounded(json);
}

std::string runs_csv(const Account& account) {
  std::vector<std::string> fitted(account.in_sample.runs.size());
  for (const FamilyFit& fit : account.fitted.fits) {
    for (const std::size_t row : fit.rows) fitted[row] = fit.constants.empty() ? "" : fit.family;
  }
  std::string text =
      "id,group,kind,fitted_family,measured_s,predicted_s,left_out_s,left_out_low_s,"
      "left_out_high_s\n";
  for (std::size_t i = 0; i < fitted.size(); ++i) {
    const ValidatedRun &run = account.in_sample.runs[i], &left = account.left_out.runs[i];
    const auto seconds = [](const std::optional<Seconds>& t) {
      return t ? fmt::format("{:.5g}", *t / sec) : std::string();
    };
    text += fmt::format("{},{},{},{},{},{},{},{},{}\n", run.id, run.group, run.facets.at("kind"),
                        fitted[i], seconds(run.measured), seconds(run.predicted),
                        seconds(left.predicted), seconds(left.low), seconds(left.high));
  }
  return text;
}

}  // namespace narrows

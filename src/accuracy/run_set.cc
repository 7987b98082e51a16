// SPDX-License-Identifier: Apache-2.0
#include "accuracy/run_set.h"

#include <algorithm>
#include <set>
#include <thread>

#include "software/figures.h"

namespace narrows {

std::vector<FigureName> figures_to_fit(const SoftwareProfile& profile) {
  std::vector<FigureName> names;
  for (const auto& [field, bounds] : profile.fits) {
    const auto owner = profile.fitted_in.find(field);
    names.push_back({owner == profile.fitted_in.end() ? profile.name : owner->second, field});
  }
  return names;
}

namespace {

void loosen(SoftwareProfile& profile, const std::map<std::string, double>& figures) {
  for (const auto& [field, ratio] : figures) {
    const std::optional<double> value = figure_of(profile, field);
    if (!value || *value <= 0) continue;
    const FitBounds limits = limits_of(field);
    profile.fits[field] = {std::max(limits.low, *value / ratio),
                           std::min(limits.high, *value * ratio)};
    profile.fitted_in[field] = profile.name;
  }
}

}  // namespace

RunSet::RunSet(const std::vector<Run>& runs, const RunInputs& inputs) {
  for (int i = 0; i < std::max(1, inputs.threads); ++i) {
    predictors_.push_back(
        std::make_unique<RunPredictor>(inputs.library, inputs.tables, inputs.overrides));
  }
  RunPredictor& predictor = *predictors_.front();
  for (const Run& run : runs) {
    if (!is_scored(run)) continue;
    RunRow row;
    row.run = &run;
    Result<RunJob> job = predictor.job_of(run);
    if (job) {
      if (inputs.software) job->software = *inputs.software;
      loosen(job->software, inputs.loosened);
      row.family = job->software.family;
      row.moe = job->model.moe.has_value();
      row.software_known = job->software_known;
    } else {
      row.unsupported = job.error().message;
    }
    rows_.push_back(row);
    jobs_.push_back(job ? std::optional<RunJob>(*job) : std::nullopt);
    software_.push_back(job ? job->software : SoftwareProfile{});
  }
}

std::vector<std::string> RunSet::families() const {
  std::set<std::string> names;
  for (const RunRow& row : rows_) {
    if (!row.family.empty()) names.insert(row.family);
  }
  return {names.begin(), names.end()};
}

void RunSet::set_figures(std::size_t row, const Figures& figures) {
  for (const FigureName& name : figures_to_fit(software_[row])) {
    const auto found = figures.find(name);
    const double value =
        found == figures.end() ? *figure_of(software_[row], name.field) : found->second;
    set_figure(jobs_[row]->software, name.field, value);
  }
}

RowPrediction RunSet::predict_row(std::size_t row, const Figures& figures,
                                  RunPredictor& predictor) {
  if (!jobs_[row]) return {};
  set_figures(row, figures);
  const StepPrediction prediction = predictor.simulate(*jobs_[row]).prediction;
  return {to_seconds(prediction.step) / sec, prediction.relative_error};
}

Result<RunPrediction> RunSet::predict_whole(std::size_t row, const Figures& figures) {
  if (!jobs_[row]) return unsupported(rows_[row].unsupported);
  set_figures(row, figures);
  return predictors_.front()->predict(*jobs_[row]);
}

std::vector<RowPrediction> RunSet::predict(const std::vector<std::size_t>& rows,
                                           const Figures& figures) {
  std::vector<RowPrediction> predictions(rows.size());
  const std::size_t count = predictors_.size();
  const auto work = [&](std::size_t worker) {
    for (std::size_t i = worker; i < rows.size(); i += count)
      predictions[i] = predict_row(rows[i], figures, *predictors_[worker]);
  };
  std::vector<std::thread> threads;
  for (std::size_t worker = 1; worker < count; ++worker) threads.emplace_back(work, worker);
  work(0);
  for (std::thread& thread : threads) thread.join();
  return predictions;
}

}  // namespace narrows

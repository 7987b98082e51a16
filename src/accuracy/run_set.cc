// SPDX-License-Identifier: Apache-2.0
#include "accuracy/run_set.h"

#include <algorithm>
#include <thread>

#include "software/library.h"
#include "software/profile_json.h"

namespace narrows {

RunSet::RunSet(const std::vector<Run>& runs, const RunInputs& inputs) {
  for (int i = 0; i < std::max(1, inputs.threads); ++i) {
    predictors_.push_back(
        std::make_unique<RunPredictor>(inputs.library, inputs.tables, inputs.overrides));
  }
  RunJobs& jobs = predictors_.front()->jobs();
  for (const Run& run : runs) {
    if (!is_scored(run)) continue;
    RunRow row;
    row.run = &run;
    const Result<RunJob> job = jobs.job_of(run);
    if (job) {
      row.family = job->software.family;
      row.moe = job->model.moe.has_value();
      row.software_known = job->software_known;
      const Result<SoftwareProfile> root = find_software(row.family, inputs.overrides);
      roots_.try_emplace(row.family, root ? *root : job->software);
    } else {
      row.unsupported = job.error().message;
    }
    rows_.push_back(row);
    jobs_.push_back(job ? std::optional<RunJob>(*job) : std::nullopt);
    software_.push_back(job ? job->software : SoftwareProfile{});
  }
}

const SoftwareProfile& RunSet::root_of(const std::string& family) const {
  const auto found = roots_.find(family);
  ASSERT(found != roots_.end());
  return found->second;
}

std::vector<std::string> RunSet::families() const {
  std::vector<std::string> names;
  for (const auto& [family, root] : roots_) names.push_back(family);
  return names;
}

RowPrediction RunSet::predict_row(std::size_t row, const FamilyFigures& figures,
                                  RunPredictor& predictor) {
  if (!jobs_[row]) return {};
  RunJob& job = *jobs_[row];
  for (const auto& [field, bounds] : software_[row].fits)
    set_figure(job.software, field, *figure_of(software_[row], field));
  const auto found = figures.find(rows_[row].family);
  if (found != figures.end()) {
    for (const auto& [field, value] : found->second) {
      if (software_[row].fits.count(field) > 0) set_figure(job.software, field, value);
    }
  }
  const StepPrediction prediction = predictor.simulate(job).prediction;
  return {to_seconds(prediction.step) / sec, prediction.relative_error};
}

std::vector<RowPrediction> RunSet::predict(const std::vector<std::size_t>& rows,
                                           const FamilyFigures& figures) {
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

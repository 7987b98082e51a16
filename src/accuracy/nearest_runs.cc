// SPDX-License-Identifier: Apache-2.0
#include "accuracy/nearest_runs.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "model/parameters.h"

namespace narrows {
namespace {

// Penalties: what differs in kind, then what a doubling counts. Chosen by judgement: kinds outweigh
// sizes, and a whole cluster of another generation outweighs all but the kind of model.
constexpr double kOtherFamily = 4;  // dense against mixture of experts
constexpr double kOtherAttention = 1;
constexpr double kOtherChip = 1;
constexpr double kOtherArchitecture = 3;
constexpr double kOtherWidth = 1.5;  // 16 bits against fewer
constexpr double kOtherRecipe = 0.5;
constexpr double kOtherSoftware = 1;
constexpr double kGpus = 0.4;
constexpr double kParameters = 0.5;
constexpr double kSequence = 0.3;
constexpr double kModelParallel = 0.25;

// The binary logarithm, linear between powers of two: monotone, and the same on every machine.
double doublings(double x) {
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);  // [0.5, 1)
  return exponent - 1 + (2 * mantissa - 1);
}
double apart(double a, double b) { return std::abs(doublings(a) - doublings(b)); }

double kinds_apart(const RunLikeness& a, const RunLikeness& b) {
  double sum = 0;
  if (a.moe != b.moe) sum += kOtherFamily;
  if (a.mla != b.mla) sum += kOtherAttention;
  if (a.architecture != b.architecture) {
    sum += kOtherArchitecture;
  } else if (a.chip != b.chip) {
    sum += kOtherChip;
  }
  if (is_quantised(a.recipe) != is_quantised(b.recipe)) {
    sum += kOtherWidth;
  } else if (a.recipe != b.recipe) {
    sum += kOtherRecipe;
  }
  if (a.software != b.software) sum += kOtherSoftware;
  return sum;
}

struct Near {
  double distance = 0;
  const Run* run = nullptr;
};

// Nearer first; of equals the newer stack, then by id.
bool before(const Near& a, const Near& b) {
  if (a.distance != b.distance) return a.distance < b.distance;
  if (a.run->software_date != b.run->software_date)
    return a.run->software_date > b.run->software_date;
  return a.run->id < b.run->id;
}

// The same training in another release of the stack.
bool same_training(const Run& a, const Run& b) {
  return a.model == b.model && a.hardware.chip == b.hardware.chip &&
         a.hardware.gpus == b.hardware.gpus && a.sequence == b.sequence &&
         a.layout.recipe == b.layout.recipe;
}

// Of the record itself: what a job would add does not count. Nothing where numbers are missing.
std::optional<RunLikeness> likeness_of_run(const Run& run, RunJobs& jobs) {
  if (!run.model || !run.hardware.gpus || !run.sequence) return std::nullopt;
  const std::optional<std::string> architecture = jobs.architecture_of(run.hardware.chip);
  if (!architecture) return std::nullopt;
  RunLikeness likeness;
  likeness.chip = run.hardware.chip;
  likeness.architecture = *architecture;
  likeness.software = software_family(run).profile;
  likeness.recipe = recipe_of(run.layout.recipe).value_or(Recipe::Bf16);
  likeness.moe = run.model->moe.has_value();
  likeness.mla = run.model->attention.kind == AttentionKind::Mla;
  likeness.gpus = *run.hardware.gpus;
  likeness.parameters = count_parameters(*run.model).total;
  likeness.sequence = static_cast<double>(*run.sequence);
  likeness.model_parallel =
      static_cast<double>(std::int64_t{run.layout.tp.value_or(1)} * run.layout.pp.value_or(1)) *
      run.layout.cp.value_or(1);
  return likeness;
}

std::vector<Near> by_distance(const RunLikeness& plan, const std::vector<Run>& runs,
                              RunJobs& jobs) {
  std::vector<Near> all;
  for (const Run& run : runs) {
    if (!is_scored(run)) continue;
    const std::optional<RunLikeness> likeness = likeness_of_run(run, jobs);
    if (likeness) all.push_back({distance(plan, *likeness), &run});
  }
  std::sort(all.begin(), all.end(), before);
  return all;
}

}  // namespace

RunLikeness likeness_of(const ModelSpec& model, const Cluster& cluster, const Training& training,
                        const Strategy& strategy, const std::string& software) {
  RunLikeness likeness;
  likeness.chip = cluster.chip.name;
  likeness.architecture = cluster.chip.architecture;
  likeness.software = software;
  likeness.recipe = strategy.precision;
  likeness.moe = model.moe.has_value();
  likeness.mla = model.attention.kind == AttentionKind::Mla;
  likeness.gpus = cluster.gpus;
  likeness.parameters = count_parameters(model).total;
  likeness.sequence = static_cast<double>(training.sequence);
  likeness.model_parallel = static_cast<double>(std::int64_t{strategy.tp} * strategy.pp) *
                            static_cast<double>(strategy.cp);
  return likeness;
}

RunLikeness likeness_of(const RunJob& job) {
  return likeness_of(job.model, job.cluster, job.training, job.strategy, job.software.name);
}

double distance(const RunLikeness& a, const RunLikeness& b) {
  return kinds_apart(a, b) + kGpus * apart(a.gpus, b.gpus) +
         kParameters * apart(a.parameters, b.parameters) +
         kSequence * apart(a.sequence, b.sequence) +
         kModelParallel * apart(a.model_parallel, b.model_parallel);
}

std::vector<NearestRun> nearest_runs(const RunLikeness& plan, const std::vector<Run>& runs,
                                     RunPredictor& predictor, int count) {
  std::vector<NearestRun> nearest;
  std::vector<const Run*> taken;
  for (const Near& near : by_distance(plan, runs, predictor.jobs())) {
    if (static_cast<int>(nearest.size()) == count) break;
    const bool again = std::any_of(taken.begin(), taken.end(),
                                   [&](const Run* run) { return same_training(*run, *near.run); });
    if (again) continue;
    const Result<RunPrediction> prediction = predictor.predict(*near.run);
    if (!prediction) continue;
    const Seconds measured = *near.run->step;
    nearest.push_back({near.run->id, near.run->source, near.distance, prediction->step, measured,
                       prediction->step / measured - 1});
    taken.push_back(near.run);
  }
  return nearest;
}

Json to_json(const std::vector<NearestRun>& nearest) {
  Json array = Json::array();
  for (const NearestRun& run : nearest) {
    Json json = Json::object();
    json.set("id", run.id);
    json.set("predicted", run.predicted / sec);
    json.set("measured", run.measured / sec);
    json.set("error", run.error);
    json.set("source", run.source);
    array.push(json);
  }
  return array;
}

}  // namespace narrows

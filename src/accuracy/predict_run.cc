// SPDX-License-Identifier: Apache-2.0
#include "accuracy/predict_run.h"

#include <algorithm>

#include "planner/leaf.h"
#include "planner/make_plan.h"

namespace narrows {
namespace {

// The ratio by which the interval grows where the software is only a family by layout: two stacks
// of one family differ by up to this at the same layout (validation/README.md, caveat 3).
constexpr double kUnknownSoftware = 1.5;

}  // namespace

Bytes counted(const RankMemory& memory, MemoryCount count) {
  const Bytes allocated =
      memory.parameters + memory.gradients + memory.optimizer + memory.kept + memory.transient;
  switch (count) {
    case MemoryCount::Allocated:
      return allocated;
    case MemoryCount::Reserved:
      return allocated + memory.allocator;
    case MemoryCount::Process:
      break;
  }
  return total(memory);
}

RunPredictor::RunPredictor(const ProfileLibrary& library, const KernelTables& tables,
                           std::vector<EmbeddedFile> overrides)
    : tables_(tables), jobs_(library, std::move(overrides)) {}

const KernelTimes& RunPredictor::kernels_of(const RunJob& job) {
  const auto key = std::tuple(job.cluster.chip.name, job.software.kernel_generation,
                              job.software.attention_kernels);
  auto found = kernels_.find(key);
  if (found == kernels_.end()) {
    found = kernels_.emplace(key, KernelTimes(tables_, job.cluster.chip, job.software)).first;
  }
  return found->second;
}

// Sampling takes longer than all the rest, and many runs share a router.
const GroupCounts& RunPredictor::groups_of(const ModelSpec& model) {
  const MoeSpec moe = model.moe.value_or(MoeSpec{});
  const std::array<int, 4> key = {moe.experts, moe.top_k, moe.groups, moe.top_groups};
  const auto found = groups_.find(key);
  if (found != groups_.end()) return found->second;
  return groups_.emplace(key, routed_groups(model)).first->second;
}

Candidate RunPredictor::simulate(const RunJob& run) {
  const Job job{run.model, run.cluster, run.software, run.training, {}};
  LeafEvaluator leaf(job, kernels_of(run), groups_of(run.model));
  return run.stages.empty() ? leaf.simulate(run.strategy)
                            : leaf.simulate_with(run.strategy, run.stages);
}

Bytes RunPredictor::needed(const RunJob& job) {
  Bytes most;
  for (const RankMemory& rank : simulate(job).prediction.memory) most = max(most, total(rank));
  return most;
}

Result<RunJob> RunPredictor::job_of(const Run& run) {
  RunJob job = TRY(jobs_.job_of(run));
  const Bytes available = job.cluster.chip.memory_reported.value;
  if (job.recompute_stated || needed(job) <= available) return job;
  constexpr Recompute kByWork[] = {Recompute::None, Recompute::Selective, Recompute::V3,
                                   Recompute::Full};
  const std::vector<Recompute>& known = job.software.recomputes;
  const Recompute assumed = job.strategy.recompute;
  for (const Recompute policy : kByWork) {
    if (policy == assumed || std::find(known.begin(), known.end(), policy) == known.end()) continue;
    RunJob other = job;
    other.strategy.recompute = policy;
    if (needed(other) > available) continue;
    std::replace(other.assumed.begin(), other.assumed.end(), "recompute=" + to_string(assumed),
                 "recompute=" + to_string(policy) + " (it would not fit with less)");
    return other;
  }
  return job;
}

Result<RunPrediction> RunPredictor::predict(const Run& run) { return predict(TRY(job_of(run))); }

RunPrediction RunPredictor::predict(const RunJob& made) {
  const Candidate candidate = simulate(made);
  const Job job{made.model, made.cluster, made.software, made.training, {}};
  const Forecast forecast = forecast_of(job, candidate, {});
  RunPrediction prediction;
  prediction.step = forecast.step;
  const double wider = made.software_known ? 1 : kUnknownSoftware;
  prediction.step_low = forecast.step_low / wider;
  prediction.step_high = wider * forecast.step_high;
  for (const RankMemory& rank : forecast.memory) {
    if (total(rank) > total(prediction.memory)) prediction.memory = rank;
  }
  prediction.capacity = forecast.memory_capacity;
  prediction.strategy = made.strategy;
  prediction.software = made.software.name;
  prediction.moe = made.model.moe.has_value();
  prediction.breakdown = forecast.breakdown;
  prediction.assumed = made.assumed;
  return prediction;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "planner/make_plan.h"

#include "economics/training_cost.h"
#include "plan/interval.h"

namespace narrows {
namespace {

BasisShares shares_of(const std::array<Seconds, kBases>& by_basis) {
  Seconds all;
  for (const Seconds t : by_basis) all += t;
  if (!(all > Seconds())) return {};
  const auto share = [&](Basis basis) { return by_basis[static_cast<std::size_t>(basis)] / all; };
  return {share(Basis::Measured), share(Basis::Interpolated), share(Basis::Transferred),
          share(Basis::Roofline)};
}

}  // namespace

FlopsConvention default_convention(const SoftwareProfile& software) {
  return software.name == "hai-llm" ? FlopsConvention::DeepSeek : FlopsConvention::Megatron;
}

Forecast forecast_of(const Job& job, const Candidate& candidate, const ForecastOptions& options) {
  const StepPrediction& p = candidate.prediction;
  Forecast f;
  f.step = to_seconds(p.step);
  const ForecastSpread& spread = job.software.spread;
  const double within = interval_ratio(job.model.moe ? spread.moe : spread.dense, p.relative_error);
  f.step_low = f.step / within;
  f.step_high = within * f.step;
  const double tokens =
      static_cast<double>(job.training.sequence) * static_cast<double>(job.training.global_batch);
  f.tokens_per_second_per_gpu = tokens / (f.step / sec) / job.cluster.gpus;
  const Flops per_token =
      training_flops_per_token(job.model, job.training.sequence, options.convention);
  f.model_tflops_per_gpu = f.tokens_per_second_per_gpu * (per_token / TFLOP);
  f.flops_convention = to_string(options.convention);
  const Result<FlopRate> peak = peak_rate(job.cluster.chip, "bf16");
  if (peak) {
    f.peak_tflops = *peak / (TFLOP / sec);
    f.mfu = f.model_tflops_per_gpu / f.peak_tflops;
  }
  f.memory = p.memory;
  f.memory_peak = total(p.memory[static_cast<std::size_t>(p.fullest_rank)]);
  f.memory_capacity = job.cluster.chip.memory_reported.value;
  for (const auto& [name, ticks] : p.breakdown) f.breakdown.emplace_back(name, to_seconds(ticks));
  f.phases = p.phases;
  f.basis = shares_of(p.by_basis);
  if (const auto cost = training_cost(job.training, job.cluster, f.step, options.price)) {
    f.days = cost->duration / day;
    f.gpu_hours = cost->gpu_hours;
    if (cost->money) f.cost_usd = *cost->money / usd;
    if (cost->energy) f.energy_mwh = *cost->energy / (1000 * kWh);
  }
  return f;
}

Plan plan_of(const Job& job, const Candidate& candidate, const ForecastOptions& options) {
  Plan plan;
  plan.model = job.model;
  plan.cluster = job.cluster;
  plan.software = job.software;
  plan.training = job.training;
  plan.strategy = candidate.strategy;
  plan.comm = candidate.prediction.comm;
  std::vector<Chunk> chunks;
  for (const StepCost::Run& run : candidate.runs)
    chunks.push_back({run.first, run.last, candidate.strategy.recompute});
  plan.stages = stages_from(candidate.strategy, chunks);
  plan.forecast = forecast_of(job, candidate, options);
  for (std::size_t rank = 0; rank < plan.stages.size(); ++rank) {
    plan.stages[rank].memory_peak = total(candidate.prediction.memory[rank]);
  }
  return plan;
}

}  // namespace narrows

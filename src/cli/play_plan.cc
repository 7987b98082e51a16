// SPDX-License-Identifier: Apache-2.0
#include "cli/play_plan.h"

#include <fmt/format.h>

#include "cli/explain.h"
#include "cost/kernel_time.h"
#include "measurement/kernel_tables.h"
#include "planner/leaf.h"
#include "planner/make_plan.h"

namespace narrows {
namespace {

Status check_recompute(const Plan& plan) {
  for (std::size_t rank = 0; rank < plan.stages.size(); ++rank) {
    for (const Chunk& chunk : plan.stages[rank].chunks) {
      if (chunk.recompute == plan.strategy.recompute) continue;
      return unsupported(fmt::format(
          "stages[{}]: a chunk that recomputes {} under a strategy that recomputes {} is not "
          "built yet",
          rank, to_string(chunk.recompute), to_string(plan.strategy.recompute)));
    }
  }
  return {};
}

StageRuns runs_of(const Plan& plan) {
  StageRuns runs;
  for (const Chunk& chunk : chunks_of_route(plan)) runs.push_back({chunk.first, chunk.last});
  return runs;
}

// What follows the pipeline, on every rank after the last one has ended.
void add_step_end(const StepPrediction& prediction, Timeline& timeline) {
  timeline.streams.emplace_back("end of step");
  const int stream = static_cast<int>(timeline.streams.size()) - 1;
  std::vector<TimeSpan> spans;
  for (int rank = 0; rank < timeline.ranks; ++rank) {
    for (const TimeSpan& span : timeline.spans) {
      if (span.rank == rank) spans.push_back(span);
    }
    Tick at = prediction.makespan;
    for (const auto& [name, time] : prediction.breakdown) {
      if (name == "compute" || name == "exposed_comm" || name == "bubble") continue;
      spans.push_back({rank, stream, name, at, at + time});
      at += time;
    }
  }
  timeline.spans = std::move(spans);
}

// Samples of activations become samples of all that the rank holds.
void add_static_memory(const std::vector<RankMemory>& memory, Timeline& timeline) {
  for (MemorySample& sample : timeline.memory) {
    const RankMemory& m = memory[static_cast<std::size_t>(sample.rank)];
    sample.bytes += total(m) - m.kept - m.transient;
  }
}

Result<Timeline> timeline_of(const Job& job, LeafEvaluator& leaf, const Candidate& candidate) {
  const Strategy& strategy = candidate.strategy;
  const Schedule schedule = TRY(schedule_for(strategy));
  const LayoutCost shared = layout_cost(
      block_layout(strategy, job.training.sequence, Grid(strategy), job.cluster), leaf.items());
  const StepCost cost(strategy, shared, leaf.items());
  Timeline timeline = to_timeline(schedule, candidate.prediction.played);
  add_memory(schedule, live_bytes_of(cost, schedule, placement_of(schedule, candidate.runs)),
             candidate.prediction.played, timeline);
  add_static_memory(candidate.prediction.memory, timeline);
  add_step_end(candidate.prediction, timeline);
  return timeline;
}

struct NamedBlock {
  BlockKind kind;
  const char* name;
};
std::vector<NamedBlock> blocks_of(ItemKind item) {
  switch (item) {
    case ItemKind::Embedding:
      return {{BlockKind::Embedding, "embedding"}};
    case ItemKind::DenseLayer:
      return {{BlockKind::Attention, "attention"}, {BlockKind::DenseFfn, "ffn"}};
    case ItemKind::MoeLayer:
      return {{BlockKind::Attention, "attention"}, {BlockKind::Moe, "moe"}};
    case ItemKind::MtpBlock:
      return {{BlockKind::MtpEntry, "mtp"}};
    case ItemKind::Head:
      return {{BlockKind::Head, "head"}};
  }
  return {};
}

const char* direction_of(const OpPrice& op) {
  if (op.recomputed) return "R";
  return op.direction == Direction::Forward     ? "F"
         : op.direction == Direction::InputGrad ? "I"
                                                : "W";
}

// Every op of every item; each item is on all ranks of its stage, for every micro-batch of theirs.
std::vector<PredictedOp> ops_of(const Job& job, const Strategy& strategy, LeafEvaluator& leaf) {
  const BlockLayout layout =
      block_layout(strategy, job.training.sequence, Grid(strategy), job.cluster);
  const double runs =
      static_cast<double>(strategy.micro_batches) * strategy.dp * strategy.tp * strategy.cp;
  std::vector<PredictedOp> ops;
  for (const ItemClass& item : classes_of(job.model)) {
    for (const NamedBlock& block : blocks_of(item.kind)) {
      for (const OpPrice& op : leaf.items().blocks().op_prices(block.kind, item.window, layout)) {
        OpLabel label{.block = block.name,
                      .name = op.name,
                      .kind = to_string(op.kind),
                      .direction = direction_of(op)};
        ops.push_back({std::move(label), runs, op.estimate.time});
      }
    }
  }
  return ops;
}

}  // namespace

Result<PlayedPlan> play_plan(const Plan& plan, PricePerTime price,
                             const std::vector<Measurement>& measured) {
  TRY(validate(plan));
  TRY(check_recompute(plan));
  KernelTables tables = TRY(KernelTables::published());
  if (!measured.empty()) tables = TRY(tables.preferring(measured, plan.cluster.chip));
  const KernelTimes kernels(tables, plan.cluster.chip, plan.software);
  // What the plan names is not chosen again.
  SoftwareProfile software = plan.software;
  if (const auto named = context_exchange_of(plan.comm.cp)) software.context_parallel = {*named};
  const Job job{plan.model, plan.cluster, software, plan.training, pins_of(plan.strategy)};
  const GroupCounts counts = routed_groups(plan.model);
  LeafEvaluator leaf(job, kernels, counts);
  const Candidate candidate = leaf.simulate_with(plan.strategy, runs_of(plan));
  PlayedPlan played;
  played.view.plan = plan_of(job, candidate, {price, default_convention(plan.software)});
  played.view.plan.software = plan.software;
  played.view.fullest_rank = candidate.prediction.fullest_rank;
  played.view.price = price;
  played.view.reasons = what_binds(played.view.plan);
  const Forecast& forecast = *played.view.plan.forecast;
  played.fits = forecast.memory_peak <= forecast.memory_capacity;
  played.timeline = TRY(timeline_of(job, leaf, candidate));
  played.ops = ops_of(job, plan.strategy, leaf);
  return played;
}

InfeasibleView infeasible_view(const PlayedPlan& played) {
  InfeasibleView view;
  const Forecast& forecast = *played.view.plan.forecast;
  view.plan = played.view.plan;
  view.rank = played.view.fullest_rank;
  view.needed = forecast.memory[static_cast<std::size_t>(view.rank)];
  view.available = forecast.memory_capacity;
  view.assumed = played.view.assumed;
  return view;
}

}  // namespace narrows

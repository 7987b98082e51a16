//
// SPDX-License-Identifier: Apache-2.0
#include "planner/leaf.h"

#include "planner/partition.h"
#include "schedule/library.h"

namespace narrows {
namespace {

bool folds(ScheduleKind kind) {
  return kind == ScheduleKind::DualPipe || kind == ScheduleKind::DualPipeV ||
         kind == ScheduleKind::ZbV;
}

// What an item weighs in the partition: a pair with its like where the schedule overlaps, else all
// its passes.
std::vector<Tick> weights_of(const StepCost& cost, bool paired) {
  std::vector<Tick> weights;
  for (int i = 0; i < static_cast<int>(cost.items().size()); ++i) {
    const Tick alone = cost.items()[static_cast<std::size_t>(i)].work();
    weights.push_back(paired ? cost.pair({i, i}, {i, i}) : alone);
  }
  return weights;
}

bool pairs(ScheduleKind kind) {
  return kind == ScheduleKind::DualPipe || kind == ScheduleKind::DualPipeV;
}

}  // namespace

LeafEvaluator::LeafEvaluator(const Job& job, const KernelTimes& kernels, const GroupCounts& counts)
    : job_(job),
      blocks_(job.model, job.cluster, job.software, job.training.routing, kernels, counts),
      items_(blocks_),
      classes_(classes_of(job.model)) {}

const LayoutCost& LeafEvaluator::layout(const Strategy& strategy) {
  const BlockLayout key =
      block_layout(strategy, job_.training.sequence, Grid(strategy), job_.cluster);
  const auto found = layouts_.find(key);
  if (found != layouts_.end()) return found->second;
  return layouts_.emplace(key, layout_cost(key, items_)).first->second;
}

StageRuns LeafEvaluator::partition(const StepCost& cost, const LayoutCost& shared) {
  const Strategy& s = cost.strategy();
  const int stages = stages_of(s);
  const auto compute = [&] {
    const std::vector<Tick> weights = weights_of(cost, pairs(s.schedule));
    return runs_from_cuts(folds(s.schedule) ? folded_partition(weights, stages)
                                            : min_max_partition(weights, stages));
  };
  if (s.zero >= 2) return compute();  // gathers and scatters change the weights
  // Weights depend on pairing, cuts on folding; the schedules that pair are those that fold, but
  // for ZB-V.
  const auto key = std::tuple(&shared, pairs(s.schedule) ? -stages : stages, folds(s.schedule));
  const auto found = partitions_.find(key);
  if (found != partitions_.end()) return found->second;
  return partitions_.emplace(key, compute()).first->second;
}

bool LeafEvaluator::hopeless(const Strategy& strategy) const {
  // What all pipeline ranks hold together, if nothing were kept and all were even.
  const HeldParameters all = HeldTable(job_.model, strategy).of(classes_);
  const double copies = is_mirrored(strategy.schedule) ? 2 : 1;
  const StateBytes state = state_bytes(all, strategy, Grid(strategy), job_.software);
  return copies / strategy.pp * state.all() + job_.software.context + job_.software.comm_buffers >
         job_.cluster.chip.memory_reported.value;
}

const ScheduleProfile& LeafEvaluator::profile(const Strategy& s) {
  const ScheduleProfile* found =
      profiles_.get(s.schedule, s.pp, chunks_per_rank(s), static_cast<int>(s.micro_batches));
  ASSERT(found != nullptr);
  return *found;
}

LeafEvaluator::Verdict LeafEvaluator::judge(const Strategy& strategy) {
  const LayoutCost& shared = layout(strategy);
  const StepCost cost(strategy, shared, items_);
  const ScheduleProfile& profile = this->profile(strategy);
  const Placement place = placement_of(profile.shape, partition(cost, shared));
  const LiveBytes live = live_bytes_of(cost, profile.shape, place);
  static const std::vector<std::vector<Bytes>> kNoPairs;
  Verdict verdict;
  for (int rank = 0; rank < strategy.pp; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    const Bytes peak =
        live_peak(profile.ranks[r], live.chunk[r], live.pair.empty() ? kNoPairs : live.pair[r]);
    const RankMemory memory =
        rank_memory(cost, held_by_rank(cost, place[r]), peak, peak, job_.software);
    if (rank == 0 || total(memory) > verdict.memory) {
      verdict.memory = total(memory);
      verdict.fullest_rank = rank;
      verdict.needed = memory;
    }
  }
  verdict.fits = verdict.memory <= job_.cluster.chip.memory_reported.value;
  if (verdict.fits) {
    const Durations durations =
        durations_of(cost, profile.shape, place, job_.software.blocking_p2p);
    verdict.bound = lower_bound(profile, durations);
  }
  return verdict;
}

Tick LeafEvaluator::full_bound(const Strategy& strategy, Tick bound) {
  const LayoutCost& shared = layout(strategy);
  const StepCost cost(strategy, shared, items_);
  const TailCost tail =
      slowest_tail(cost, placement_of(profile(strategy).shape, partition(cost, shared)));
  return bound + round_up(tail.reduce) + round_up(tail.optimizer) + round_up(tail.gather) +
         round_up(job_.software.step_overhead);
}

const CompiledSchedule& LeafEvaluator::compiled(const Strategy& s, const Schedule*& schedule) {
  const auto key = std::tuple(s.schedule, s.pp, chunks_per_rank(s), s.micro_batches);
  auto found = compiled_.find(key);
  if (found == compiled_.end()) {
    Result<Schedule> made = schedule_for(s);
    ASSERT(made.has_value());
    Result<CompiledSchedule> ready = CompiledSchedule::of(*made);
    ASSERT(ready.has_value());
    found = compiled_.emplace(key, Compiled{std::move(*made), std::move(*ready)}).first;
  }
  schedule = &found->second.schedule;
  return found->second.compiled;
}

Candidate LeafEvaluator::simulate(const Strategy& strategy) {
  const LayoutCost& shared = layout(strategy);
  return simulate_with(strategy, partition(StepCost(strategy, shared, items_), shared));
}

Candidate LeafEvaluator::simulate_with(const Strategy& strategy, const StageRuns& runs) {
  const StepCost cost(strategy, layout(strategy), items_);
  Candidate candidate;
  candidate.strategy = strategy;
  candidate.runs = runs;
  const Schedule* schedule = nullptr;
  const CompiledSchedule& ready = compiled(strategy, schedule);
  candidate.prediction = predict_step(cost, *schedule, ready, runs, job_.software);
  return candidate;
}

}  // namespace narrows

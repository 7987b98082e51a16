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

bool pairs(ScheduleKind kind) {
  return kind == ScheduleKind::DualPipe || kind == ScheduleKind::DualPipeV;
}

// What an item weighs in the partition: a pair with its like where the schedule overlaps, else all
// its passes. ZeRO's traffic does not count: the partition is the layout's own.
std::vector<Tick> weights_of(const LayoutCost& shared, bool paired) {
  std::vector<Tick> weights;
  for (std::size_t i = 0; i < shared.items.size(); ++i) {
    const auto own = static_cast<std::size_t>(shared.index[i]);
    weights.push_back(paired ? shared.pairs[own][own].time : shared.items[i].work());
  }
  return weights;
}

}  // namespace

LeafEvaluator::LeafEvaluator(const Job& job, const KernelTimes& kernels, const GroupCounts& counts)
    : job_(job),
      blocks_(job.model, job.cluster, job.software, job.training.routing, kernels, counts),
      items_(blocks_),
      classes_(classes_of(job.model)) {}

void LeafEvaluator::trim() {
  constexpr std::size_t kMostSites = 4000;  // some kilobytes each
  if (sites_.size() < kMostSites) return;
  sites_.clear();
  partitions_.clear();
  layouts_.clear();
  items_.forget();
}

const LayoutCost& LeafEvaluator::layout(const Strategy& strategy) {
  const BlockLayout key =
      block_layout(strategy, job_.training.sequence, Grid(strategy), job_.cluster);
  const auto found = layouts_.find(key);
  if (found != layouts_.end()) return found->second;
  return layouts_.emplace(key, layout_cost(key, items_)).first->second;
}

StageRuns LeafEvaluator::partition(const LayoutCost& shared, const Strategy& s) {
  const int stages = stages_of(s);
  // Weights depend on pairing, cuts on folding; the schedules that pair are those that fold, but
  // for ZB-V.
  const auto key = std::tuple(&shared, pairs(s.schedule) ? -stages : stages, folds(s.schedule));
  const auto found = partitions_.find(key);
  if (found != partitions_.end()) return found->second;
  const std::vector<Tick> weights = weights_of(shared, pairs(s.schedule));
  const Cuts cuts =
      folds(s.schedule) ? folded_partition(weights, stages) : min_max_partition(weights, stages);
  return partitions_.emplace(key, runs_from_cuts(cuts)).first->second;
}

const HeldTable& LeafEvaluator::held(const Strategy& s) {
  const auto key = std::tuple(s.tp, s.ep, s.etp);
  const auto found = held_.find(key);
  if (found != held_.end()) return found->second;
  return held_.emplace(key, HeldTable(job_.model, s)).first->second;
}

Bytes LeafEvaluator::least_memory(const Strategy& strategy) {
  // What all pipeline ranks hold together, if nothing were kept and all were even.
  const HeldParameters all = held(strategy).of(classes_);
  const double copies = is_mirrored(strategy.schedule) ? 2 : 1;
  const StateBytes state = state_bytes(all, strategy, Grid(strategy), job_.software);
  return copies / strategy.pp * state.all() + job_.software.context + job_.software.comm_buffers;
}

const ScheduleProfile& LeafEvaluator::profile(const Strategy& s) {
  const ScheduleProfile* found =
      profiles_.get(s.schedule, s.pp, chunks_per_rank(s), static_cast<int>(s.micro_batches));
  ASSERT(found != nullptr);
  return *found;
}

LeafEvaluator::Site& LeafEvaluator::site(const LayoutCost& shared, const Strategy& strategy) {
  const auto key = std::tuple(&shared, strategy.schedule, strategy.pp, strategy.vpp);
  const auto found = sites_.find(key);
  if (found != sites_.end()) return found->second;
  Site site;
  const ScheduleProfile& profile = this->profile(strategy);
  site.runs = partition(shared, strategy);
  site.place = placement_of(profile.shape, site.runs);
  for (const std::vector<StepCost::Run>& chunks : site.place) {
    std::array<int, 5> kinds{};
    for (const StepCost::Run& run : chunks) {
      for (int i = run.first; i <= run.last; ++i) {
        ++kinds[static_cast<std::size_t>(classes_[static_cast<std::size_t>(i)].kind)];
      }
    }
    site.kinds.push_back(kinds);
  }
  Strategy plain = strategy;
  plain.zero = 0;
  plain.dp_shard = 1;
  site.live = live_bytes_of(StepCost(plain, shared, items_), profile.shape, site.place);
  site.peak.resize(site.place.size());
  return sites_.emplace(key, std::move(site)).first->second;
}

// The fullest rank. A rank whose limit is below another's need is not looked at closer; unless
// `exact`, neither is anything after a rank that does not fit.
LeafEvaluator::Verdict LeafEvaluator::weigh(const Site& site, const LiveBytes& live,
                                            std::vector<std::optional<Bytes>>& peaks,
                                            const Strategy& strategy, const Grid& grid,
                                            bool exact) {
  static const std::vector<std::vector<Bytes>> kNoPairs;
  const ScheduleProfile& profile = this->profile(strategy);
  const HeldTable& table = held(strategy);
  const Bytes available = job_.cluster.chip.memory_reported.value;
  Verdict verdict;
  verdict.fits = true;
  for (std::size_t r = 0; r < site.kinds.size(); ++r) {
    const HeldParameters parameters = table.of(site.kinds[r]);
    const auto memory = [&](Bytes peak) {
      return rank_memory(parameters, strategy, grid, peak, peak, job_.software);
    };
    const auto& pairs = live.pair.empty() ? kNoPairs : live.pair[r];
    if (!peaks[r]) {
      const Bytes limit = live_peak_limit(profile.ranks[r], live.chunk[r], pairs);
      if (r > 0 && total(memory(limit)) <= verdict.memory) continue;
      peaks[r] = live_peak(profile.ranks[r], live.chunk[r], pairs);
    }
    const RankMemory needed = memory(*peaks[r]);
    if (r > 0 && total(needed) <= verdict.memory) continue;
    verdict.memory = total(needed);
    verdict.fullest_rank = static_cast<int>(r);
    verdict.needed = needed;
    verdict.fits = verdict.memory <= available;
    if (!verdict.fits && !exact) break;
  }
  return verdict;
}

LeafEvaluator::Verdict LeafEvaluator::judge(const Strategy& strategy, bool exact) {
  const LayoutCost& shared = layout(strategy);
  Site& site = this->site(shared, strategy);
  const ScheduleProfile& profile = this->profile(strategy);
  const Grid grid(strategy);
  Verdict verdict = weigh(site, site.live, site.peak, strategy, grid, exact);
  if (!verdict.fits && (strategy.zero < 2 || !exact)) return verdict;

  if (strategy.zero >= 2) {
    const StepCost cost(strategy, shared, items_);
    // ZeRO's buffers come on top; where even the largest ones fit, how much they take does not
    // matter.
    const ShardBuffers most = cost.shard_buffers({0, static_cast<int>(classes_.size()) - 1});
    const Bytes limit = verdict.memory + (1 + job_.software.allocator_overhead) *
                                             (2 * most.weights + most.gradients);
    if (exact || limit > job_.cluster.chip.memory_reported.value) {
      std::vector<std::optional<Bytes>> peak(site.place.size());
      verdict =
          weigh(site, live_bytes_of(cost, profile.shape, site.place), peak, strategy, grid, exact);
    }
    if (!verdict.fits) return verdict;
    verdict.bound = lower_bound(
        profile, durations_of(cost, profile.shape, site.place, job_.software.blocking_p2p),
        cost.speed_alone());
    return verdict;
  }
  const Tick send = send_time(strategy, shared.layout, grid, blocks_);
  const auto known = site.bounds.find(send);
  if (known != site.bounds.end()) {
    verdict.bound = known->second;
    return verdict;
  }
  const StepCost cost(strategy, shared, items_);
  verdict.bound = lower_bound(
      profile, durations_of(cost, profile.shape, site.place, job_.software.blocking_p2p),
      cost.speed_alone());
  site.bounds.emplace(send, verdict.bound);
  return verdict;
}

Tick LeafEvaluator::full_bound(const Strategy& strategy, Tick bound) {
  const LayoutCost& shared = layout(strategy);
  const StepCost cost(strategy, shared, items_);
  const TailCost tail = slowest_tail(cost, site(shared, strategy).place);
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
  return simulate_with(strategy, partition(layout(strategy), strategy));
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

// One strategy at a time, cheaply: its partition, its durations, an exact memory verdict and an
// admissible bound; and its simulation. Holds the caches that strategies share; one per thread.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <optional>
#include <tuple>

#include "planner/schedule_profile.h"
#include "planner/search.h"

namespace narrows {

class LeafEvaluator {
 public:
  // Borrows all; `counts` are routed_groups of the job's model.
  LeafEvaluator(const Job& job, const KernelTimes& kernels, const GroupCounts& counts);

  struct Verdict {
    bool fits = false;
    Tick bound;    // if it fits: on the makespan, without what follows the pipeline
    Bytes memory;  // of the fullest rank
    int fullest_rank = 0;
    RankMemory needed;  // of that rank
  };
  // `exact`: `memory` and `needed` are those of the fullest rank; else they may stop at the first
  // rank found too full, or leave out ZeRO's buffers where those fit anyway. `fits` and `bound` are
  // exact either way.
  Verdict judge(const Strategy& strategy, bool exact = true);
  // What the fullest rank needs at least: parameters, gradients and optimiser spread evenly,
  // nothing kept. Cheap; judge() finds no less.
  Bytes least_memory(const Strategy& strategy);
  // Forgets what was remembered for speed once it is much; prices of blocks stay. Invalidates
  // nothing that was returned.
  void trim();
  // The bound of `judge` plus reductions, optimiser and overhead, which the simulation adds
  // unchanged.
  Tick full_bound(const Strategy& strategy, Tick bound);
  Candidate simulate(const Strategy& strategy);
  // With the given runs of items instead of the partition: a plan file's own.
  Candidate simulate_with(const Strategy& strategy, const StageRuns& runs);
  // The ops' prices behind it, for explanations.
  ItemPricer& items() { return items_; }

 private:
  // What strategies share that differ in ZeRO (and in what it shards over) only: the partition, and
  // what each rank keeps at its fullest. Bounds are shared too while ZeRO does not change
  // durations.
  struct Site {
    StageRuns runs;
    Placement place;
    std::vector<std::array<int, 5>> kinds;   // rank -> items by kind
    LiveBytes live;                          // without ZeRO's buffers
    std::vector<std::optional<Bytes>> peak;  // rank -> exact, once it was needed
    std::map<Tick, Tick> bounds;             // latency of a send -> bound
  };
  const LayoutCost& layout(const Strategy& strategy);
  const ScheduleProfile& profile(const Strategy& strategy);
  Site& site(const LayoutCost& shared, const Strategy& strategy);
  Verdict weigh(const Site& site, const LiveBytes& live, std::vector<std::optional<Bytes>>& peaks,
                const Strategy& strategy, const Grid& grid, bool exact);
  StageRuns partition(const LayoutCost& shared, const Strategy& strategy);
  const HeldTable& held(const Strategy& strategy);
  const CompiledSchedule& compiled(const Strategy& strategy, const Schedule*& schedule);

  const Job& job_;
  BlockPricer blocks_;
  ItemPricer items_;
  std::vector<ItemClass> classes_;
  ScheduleProfiles profiles_;
  std::map<BlockLayout, LayoutCost> layouts_;
  std::map<std::tuple<const LayoutCost*, int, bool>, StageRuns> partitions_;
  std::map<std::tuple<const LayoutCost*, ScheduleKind, int, int>, Site> sites_;
  std::map<std::tuple<int, int, int>, HeldTable> held_;
  struct Compiled {
    Schedule schedule;
    CompiledSchedule compiled;
  };
  std::map<std::tuple<ScheduleKind, int, int, std::int64_t>, Compiled> compiled_;
};

}  // namespace narrows

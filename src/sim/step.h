// One training step of one strategy with its items laid over the stages: the durations of its
// chunks (level A) played by its schedule (level B), then gradient reduction, optimiser and the
// gather of new parameters; and the memory of every pipeline rank. Ranks that cannot differ are
// played once: the cost does not grow with data parallelism.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cost/step_cost.h"
#include "plan/forecast.h"
#include "schedule/schedule.h"
#include "sim/live.h"
#include "sim/play.h"

namespace narrows {

// stage -> its items, the same for every route.
using StageRuns = std::vector<StepCost::Run>;

// rank -> chunk -> its items.
using Placement = std::vector<std::vector<StepCost::Run>>;
Placement placement_of(const Schedule& schedule, const StageRuns& runs);

// The runs of a plan's chunks, and back.
StageRuns runs_from_cuts(const std::vector<int>& last_items);

// The schedule that the strategy names, for its pipeline.
Result<Schedule> schedule_for(const Strategy& strategy);

Durations durations_of(const StepCost& cost, const Schedule& schedule, const Placement& place,
                       bool blocking_sends);

// What each (rank, chunk) keeps, for live_peaks.
LiveBytes live_bytes_of(const StepCost& cost, const Schedule& schedule, const Placement& place);

// Parameters that a pipeline rank holds under the schedule (both copies under DualPipe).
HeldParameters held_by_rank(const StepCost& cost, const std::vector<StepCost::Run>& chunks);

// The memory of one pipeline rank, given the peak of its activations (live_peaks), and the peak of
// what is kept alone; the difference counts as transient.
RankMemory rank_memory(const HeldParameters& held, const Strategy& strategy, const Grid& grid,
                       Bytes live_peak, Bytes kept_peak, const SoftwareProfile& software);

struct StepPrediction {
  Tick step;
  Tick makespan;                   // of the pipeline, without what follows
  std::vector<RankMemory> memory;  // by pipeline rank
  int fullest_rank = 0;
  int critical_rank = 0;  // the one that ends last
  // Parts of `step` on the critical rank; they sum to it.
  std::vector<std::pair<std::string, Tick>> breakdown;
  // An average rank's makespan by kind of instruction, the bubble last.
  std::vector<std::pair<std::string, Seconds>> phases;
  // Time by basis over the items' compute.
  std::array<Seconds, kBases> by_basis{};
  double relative_error =
      0;            // expected, of the items' compute: errors of a family taken as fully correlated
  CommChoice comm;  // the algorithms that were priced
  Played played;
};

StepPrediction predict_step(const StepCost& cost, const Schedule& schedule,
                            const CompiledSchedule& compiled, const StageRuns& runs,
                            const SoftwareProfile& software);

// What follows the pipeline on the slowest rank, fixed overhead included.
TailCost slowest_tail(const StepCost& cost, const Placement& place);

}  // namespace narrows

// A plan's forecast beside what its execution measured: the step, its phases, its instructions and
// its ops. Of what was measured, medians count, so that a moment in which the machine did something
// else does not.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cli/play_plan.h"
#include "plan/plan.h"
#include "timeline/timeline.h"

namespace narrows {

// Of one op, instruction or phase, summed over a step and averaged over ranks.
struct ComparedTime {
  std::string name;
  double runs = 0;  // a step and rank; 0 = not counted
  Seconds predicted;
  Seconds measured;
};

struct PlanComparison {
  Seconds predicted_step;
  Seconds measured_step;  // the median, without the first
  std::vector<ComparedTime> phases;
  std::vector<ComparedTime> instructions;  // by kind, each as one
  std::vector<ComparedTime> ops;           // the longest first
};

struct MeasuredSteps {
  Timeline timeline;           // of all steps, with ops
  std::vector<Seconds> steps;  // of each
  int ranks = 1;               // that the timeline holds
};

PlanComparison compare_plan(const Plan& plan, const PlayedPlan& predicted,
                            const MeasuredSteps& measured);

std::string text_of(const PlanComparison& comparison, int most_ops = 15);
Json to_json(const PlanComparison& comparison);

// The step of median length alone, beginning at 0.
Timeline middle_step(const MeasuredSteps& measured);

}  // namespace narrows

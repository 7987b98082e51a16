// A plan's forecast beside what its execution measured: the step, its phases, its instructions and
// its ops. Of the steps the median counts, of what is in them the mean without interruptions.
// Calibrations tell how fast the machine was beside what its profile found.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/measured_steps.h"
#include "cli/play_plan.h"
#include "plan/plan.h"

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
  std::optional<Seconds> stated_step;  // the plan's own forecast, where that is another
  Seconds measured_step;               // the median, without the first
  double slowdown = 0;                 // of the machine since its profile; 0 = not known
  std::vector<ComparedTime> phases;
  std::vector<ComparedTime> instructions;  // by kind, each as one
  std::vector<ComparedTime> ops;           // the longest first
};

PlanComparison compare_plan(const Plan& plan, const PlayedPlan& predicted,
                            const MeasuredSteps& measured);

std::string text_of(const PlanComparison& comparison, int most_ops = 15);
Json to_json(const PlanComparison& comparison);

}  // namespace narrows

// A plan played again: its own chunks and strategy, its forecast computed anew.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "measurement/measurement.h"
#include "plan/plan.h"
#include "report/plan_view.h"
#include "timeline/timeline.h"

namespace narrows {

// An op as the forecast prices it.
struct PredictedOp {
  OpLabel label;    // block, name, kind and direction
  double runs = 0;  // a step, on all ranks together
  Seconds time;     // of one
};

struct PlayedPlan {
  PlanView view;  // without a search
  bool fits = true;
  Timeline timeline;  // pipeline, then what ends the step; memory of every pipeline rank
  std::vector<PredictedOp> ops;
};

// The plan is validated first (its cluster or figures may have been changed since it was read).
// `price` 0 = unknown. `measured`: a machine's own rows, which come before the published tables.
Result<PlayedPlan> play_plan(const Plan& plan, PricePerTime price,
                             const std::vector<Measurement>& measured = {});

// What the fullest rank needs, where it does not fit.
InfeasibleView infeasible_view(const PlayedPlan& played);

}  // namespace narrows

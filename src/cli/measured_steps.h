// The steps that a training measured. The first warms up and counts only where there is no other.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/units.h"
#include "timeline/timeline.h"

namespace narrows {

struct MeasuredStep {
  Seconds time;
  Seconds calibration;  // beside it (runtime/calibration.h); 0 = not timed
};

struct MeasuredSteps {
  Timeline timeline;  // of all steps, with ops
  std::vector<MeasuredStep> steps;
  int ranks = 1;         // that the timeline holds
  Seconds profile_pace;  // calibration when the machine was profiled; 0 = not known
};

// Indices of those that count; at least one if there is a step.
std::vector<std::size_t> counting_steps(const MeasuredSteps& measured);

// Calibrations beside the steps that count over those of the profile; 0 where one of the two is not
// known.
double slowdown_of(const MeasuredSteps& measured);

// Spans and ops of some steps.
Timeline only(const MeasuredSteps& measured, const std::vector<std::size_t>& steps);

// The step of median length, of those that count, beginning at 0.
Timeline middle_step(const MeasuredSteps& measured);

}  // namespace narrows

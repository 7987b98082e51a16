// The published runs most like a plan, predicted on the spot.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "accuracy/nearest_runs.h"
#include "cli/profiles.h"
#include "plan/plan.h"

namespace narrows {

// The three nearest, with our error on each.
Result<std::vector<NearestRun>> nearest_to(const Plan& plan, const Profiles& profiles);

}  // namespace narrows

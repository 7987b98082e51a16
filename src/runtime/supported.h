// What the runtime executes. A plan it cannot execute as written is refused before anything starts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "plan/plan.h"

namespace narrows {

// Unsupported names the part of the plan that cannot be run.
Status check_supported(const Plan& plan);

}  // namespace narrows

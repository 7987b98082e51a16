// Whether a schedule can be run and does a whole step: every chunk has exactly one F and then one
// B, or one I and then one W, of every micro-batch of its route; routes visit every chunk once;
// pairs have both halves; and in-order ranks that wait for each other never deadlock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "schedule/schedule.h"

namespace narrows {

// InvalidInput names rank, instruction and rule: "rank 2: B3 at 17: its forward has not run".
Status validate(const Schedule& schedule);

// The same without the search for deadlocks: `graph_of` finds those.
Status validate_ranks(const Schedule& schedule);

}  // namespace narrows

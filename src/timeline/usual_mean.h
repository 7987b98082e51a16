// What a piece of work usually takes, from its runs in a measured Timeline.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/units.h"

namespace narrows {

// The mean of times, without those beyond three times their median: interruptions. Means add up to
// a step where a processor goes at several paces; medians do not (docs/decisions/0016). At least
// one time.
Seconds usual_mean(std::vector<Tick> times);

}  // namespace narrows

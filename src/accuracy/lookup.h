// What a table of past runs would predict without any model of the work: the median efficiency
// (FLOPs a second and GPU) of the runs with the same training stack and date, chip, recipe and
// model. It is what every prediction here has to beat: in sample it only repeats its rows, on a
// group that it has not seen it falls back to what is known of the chip.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "accuracy/run_set.h"

namespace narrows {

// Seconds of every row of the set, 0 where the row is unsupported or nothing is known. A row's own
// group is left out of its table if `leave_out`. Where no run shares all: stack, chip, recipe and
// model; chip, recipe and model; stack, chip and recipe; chip and recipe; chip; all.
std::vector<double> lookup_steps(const RunSet& set, bool leave_out);

}  // namespace narrows

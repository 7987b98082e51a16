// The pace of chips in training against that at which their kernels were timed: the clock under
// load, and the slowest of many.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hardware/chip.h"

namespace narrows {

// How much longer matmuls take at the clock that the chip holds under tensor load than at the clock
// its peaks are rated at; 1 where that clock is not known.
double load_slowdown(const Chip& chip);

// How much longer the slowest of so many chips takes than their mean, expected: their pace is taken
// to be normal. All that train one model wait for it, layer by layer or at the end of the step.
double slowest_of(const Chip& chip, int chips);

// The same for a training whose matmuls fill `duty` of the time, `full` being the slow-down where
// they fill all of it: power is averaged over longer than a layer, grows with the cube of the
// clock, and the clock falls until the average meets the limit.
double load_slowdown(double full, double duty);

}  // namespace narrows

// Collectives beside compute. While a collective runs on a stream of its own, its kernels hold some
// multiprocessors and draw on the memory that compute reads: both take longer. Used for traffic
// that flows layer by layer under compute (FSDP, ZeRO-3): long enough that only sums count, not who
// waits for whom.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/units.h"
#include "hardware/chip.h"
#include "software/profile.h"

namespace narrows {

// Factors on either side while both run, at least 1.
struct Contention {
  double compute = 1;
  double transfer = 1;
};

// Of the stack's collectives with work of which `multiply_share` is bound by multiprocessors.
Contention contention_of(const SoftwareProfile& software, const Chip& chip, double multiply_share);

// How long both take together when they start together: the shorter one is over first, the rest of
// the other runs alone. At least the longer of the two, at most a little more than their sum.
Seconds together(Seconds compute, Seconds transfer, Contention by);

}  // namespace narrows

// Rates of collectives and messages as nccl-tests prints them: what a rank handles over the time,
// and the same brought to the rate of the links, which is what the best algorithm sends through
// each rank's link: comparable over collectives and ranks, and with a link's own rate.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "measurement/observation.h"

namespace narrows {

// Of n ranks: 2 (n - 1) / n for an all-reduce, (n - 1) / n for an all-gather, reduce-scatter or
// all-to-all, 1 for a broadcast or message.
double bus_share(CollectiveKind what, int ranks);

Bandwidth algorithm_bandwidth(const LinkMeasurement& link);
Bandwidth bus_bandwidth(const LinkMeasurement& link);

}  // namespace narrows

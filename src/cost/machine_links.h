// Collectives among ranks of a machine whose links were measured (Cluster::collectives): straight
// lines between measured sizes, the last slope beyond. A group whose size was not measured takes
// the next larger one's time in proportion to what each member sends. Without measurements: what
// each member sends at the level's rate, and a latency a step.
//
// A level whose usable rate is below its nominal one is an emulated link (comm/links.h): each
// message then also occupies its sender's port for its bytes at the usable rate and arrives a
// latency later, before any of the measured work can go on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cost/estimate.h"
#include "hardware/cluster.h"
#include "model/op.h"

namespace narrows {

// `ranks` of at least 2. Any kind but Dispatch and Combine.
Estimate machine_collective_time(CollectiveKind what, int ranks, Bytes bytes,
                                 const Cluster& cluster);

}  // namespace narrows

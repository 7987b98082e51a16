// Alpha-beta times of collectives between scale-up domains. NCCL's algorithms are pipelined, so
// that the levels they cross work at the same time: t = base + hops x hop time + the slowest
// level's bytes / rate. Hop times are those of NCCL's own tuning table (src/graph/tuning.cc, 2.2x;
// a network hop is never below the level's latency); the rates' shares of nominal are fitted to
// published multi-node tables. docs/models/collective.md.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cost/estimate.h"
#include "hardware/cluster.h"
#include "model/op.h"

namespace narrows {

// The network's part of a collective over a span that leaves its scale-up domain: its latency, and
// the time for which the slowest level's links are busy. The best algorithm for these bytes;
// `domain` is how long the domain's own links are busy meanwhile, which bandwidth overlaps. Any
// kind but Dispatch and Combine.
Seconds network_time(const CollectiveShape& what, const Span& span, const Cluster& cluster,
                     Seconds domain);

}  // namespace narrows

// The time of one collective alone on the links it uses, from how its group lies on the levels of a
// cluster.
//
// Inside the scale-up domain (a node, or a rack that NVLink joins) the published NCCL curves are
// interpolated over bytes and carried to other chips by link rate. Across domains an alpha-beta
// model prices each algorithm that is offered (ring, tree, in-network reduction, recursive
// doubling; hockney1994, thakur2005) and takes the best; bandwidths of the levels overlap, because
// the algorithms are pipelined. Formulas, fits and residuals: docs/models/collective.md.
//
// All groups of an axis communicate at the same time, and each GPU has its own share of the network
// interfaces: a group with g members in a node uses the g shares of those members. Contention
// between axes is the caller's business.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cost/estimate.h"
#include "hardware/cluster.h"
#include "model/op.h"

namespace narrows {

// The time from the last member's arrival to the last member's end. Zero for one member or no
// bytes. Not for Dispatch and Combine: those depend on routing (exchange.h).
Estimate collective_time(const CollectiveShape& what, const Span& span, const Cluster& cluster);

// How many of the inner levels form the scale-up domain: level 0 and those outside it with links as
// fast (a compute tray and the NVLink rack around it). 0 where a node has one GPU.
int domain_levels(const Cluster& cluster);

// Members of the group inside one scale-up domain, at least 1.
int domain_members(const Span& span, const Cluster& cluster);

// The rate of a level as NCCL sees it: nominal, or less where large messages reach less than 70 %
// of it.
Bandwidth link_rate(const Level& level);

}  // namespace narrows

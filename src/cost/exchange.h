// The time to bring tokens to their experts (dispatch) or back (combine) over an expert-parallel
// group.
//
// DeepEP sends a token once over the network to each node that holds one of its experts, and the
// receiving GPU forwards it over NVLink to each GPU there (deepep2025); both hops are pipelined, so
// that the slower one counts. The plain all-to-all sends every (token, expert) copy by itself; the
// all-gather brings all tokens everywhere.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cost/estimate.h"
#include "cost/reach.h"
#include "hardware/cluster.h"
#include "model/op.h"
#include "software/profile.h"

namespace narrows {

// `what` is a Dispatch or Combine: tokens of a rank, and one token's bytes to one destination. The
// span's size is the number of EP ranks. Zero for one rank or no tokens.
Estimate exchange_time(const CollectiveShape& what, const RouterShape& routing, const Span& span,
                       const Cluster& cluster, Dispatcher dispatcher);
// The same with counts that the caller kept (sample_groups).
Estimate exchange_time(const CollectiveShape& what, const RouterShape& routing, const Span& span,
                       const Cluster& cluster, Dispatcher dispatcher, const GroupCounts& counts);

// The same with the reach that the caller kept (of domain_members nodes; only DeepEP looks at it).
Estimate exchange_time(const CollectiveShape& what, const RouterShape& routing, const Reach& reach,
                       const Span& span, const Cluster& cluster, Dispatcher dispatcher);

// DeepEP's time when the expected destinations are known.
Estimate two_hop_time(const CollectiveShape& what, const Reach& reach, const Span& span,
                      const Cluster& cluster);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cost/exchange.h"

#include "cost/collective_time.h"

namespace narrows {

namespace {

// Residual of the two-hop model against DeepEP's published H800 table of 2025-04.
constexpr double kTwoHopError = 0.03;
// A plain dispatch adds NCCL's own error (collective_time) and padding that is not modelled.

Bandwidth usable_rate(const Level& level) {
  return level.usable.value > Bandwidth{} ? level.usable.value : level.nominal.value;
}

// Relays forward and receive at once, which costs them bandwidth.
Bandwidth forwarding_rate(const Level& level) {
  return level.forwarded.value > Bandwidth{} ? level.forwarded.value : usable_rate(level);
}

int inside(const Span& span, int level) { return level < 0 ? 1 : span.inside[level]; }

// The network's part: distinct nodes outside each level's own group, over that level's rate.
Seconds network_part(const CollectiveShape& what, const Reach& reach, const Span& span,
                     const Cluster& cluster) {
  Seconds slowest;
  const int domain = domain_levels(cluster);
  for (int l = domain; l < static_cast<int>(span.inside.size()); ++l) {
    if (inside(span, l) == inside(span, l - 1)) continue;
    // remote_nodes leave the domain; of all nodes, those beyond the group below are as likely as
    // any.
    const double beyond =
        l == domain ? reach.remote_nodes
                    : reach.nodes * (1 - static_cast<double>(inside(span, l - 1)) / span.size());
    const double squeeze = l == 0 ? 1.0 : cluster.levels[l - 1].oversubscription;
    const Bandwidth rate = usable_rate(cluster.levels[l]) / squeeze;
    slowest =
        max(slowest, what.tokens * beyond * what.bytes / rate + cluster.levels[l].latency.value);
  }
  return slowest;
}

Seconds domain_part(const CollectiveShape& what, const Reach& reach, const Span& span,
                    const Cluster& cluster) {
  const int members = domain_members(span, cluster);
  if (members < 2) return {};
  const Level& level = cluster.levels[domain_levels(cluster) - 1];
  const Bandwidth rate = members < span.size() ? forwarding_rate(level) : usable_rate(level);
  return what.tokens * reach.gpus * what.bytes / rate + level.latency.value;
}

// Whether it sends a token once to each of its places.
bool needs_reach(Dispatcher dispatcher) {
  return dispatcher == Dispatcher::DeepEp || dispatcher == Dispatcher::PerRank;
}

}  // namespace

Estimate two_hop_time(const CollectiveShape& what, const Reach& reach, const Span& span,
                      const Cluster& cluster) {
  const Seconds network = network_part(what, reach, span, cluster);
  const Seconds domain = domain_part(what, reach, span, cluster);
  return {max(network, domain), Basis::Transferred, kTwoHopError};
}

Estimate exchange_time(const CollectiveShape& what, const RouterShape& routing, const Reach& reach,
                       const Span& span, const Cluster& cluster, Dispatcher dispatcher) {
  const int ep = span.size();
  if (ep < 2 || what.tokens <= 0 || what.bytes <= Bytes{}) return {Seconds{}, Basis::Measured, 0};
  CollectiveShape plain{.axis = what.axis};
  switch (dispatcher) {
    case Dispatcher::DeepEp:
      return two_hop_time(what, reach, span, cluster);
    case Dispatcher::AllToAll:
      plain.what = CollectiveKind::AllToAll;
      plain.bytes = what.tokens * routing.top_k * what.bytes;
      break;
    case Dispatcher::PerRank:
      plain.what = CollectiveKind::AllToAll;
      plain.bytes = what.tokens * reach.gpus * what.bytes;
      break;
    case Dispatcher::AllGather:
      plain.what = what.what == CollectiveKind::Dispatch ? CollectiveKind::AllGather
                                                         : CollectiveKind::ReduceScatter;
      plain.bytes = what.tokens * ep * what.bytes;
      break;
  }
  return collective_time(plain, span, cluster);
}

Estimate exchange_time(const CollectiveShape& what, const RouterShape& routing, const Span& span,
                       const Cluster& cluster, Dispatcher dispatcher, const GroupCounts& counts) {
  Reach reach;
  if (needs_reach(dispatcher) && span.size() > 1) {
    reach = expected_reach(routing, span.size(), domain_members(span, cluster), counts);
  }
  return exchange_time(what, routing, reach, span, cluster, dispatcher);
}

Estimate exchange_time(const CollectiveShape& what, const RouterShape& routing, const Span& span,
                       const Cluster& cluster, Dispatcher dispatcher) {
  if (!needs_reach(dispatcher)) {
    return exchange_time(what, routing, span, cluster, dispatcher, GroupCounts{});
  }
  return exchange_time(what, routing, span, cluster, dispatcher, sample_groups(routing));
}

}  // namespace narrows

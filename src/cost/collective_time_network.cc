// SPDX-License-Identifier: Apache-2.0
#include "cost/collective_time_network.h"

#include "cost/collective_time.h"
#include "cost/collective_time_constants.h"

namespace narrows {

namespace {

int below(const Span& span, std::size_t level) { return level == 0 ? 1 : span.inside[level - 1]; }

// One member's share of a level, oversubscription of the groups below included.
Bandwidth member_rate(const Cluster& cluster, std::size_t l) {
  const Level& level = cluster.levels[l];
  const double squeeze = l == 0 ? 1.0 : cluster.levels[l - 1].oversubscription;
  const Bandwidth most = network_constants().plateau_of_nominal * level.nominal.value;
  if (level.usable.value <= Bandwidth{}) return most / squeeze;
  return min(most, network_constants().plateau_of_usable * level.usable.value) / squeeze;
}

// The longest time that a level's links are busy when the members inside each group below share
// `bytes`.
Seconds shared_time(Bytes bytes, const Span& span, const Cluster& cluster) {
  Seconds busy;
  for (std::size_t l = domain_levels(cluster); l < span.inside.size(); ++l) {
    const int members = below(span, l);
    if (span.inside[l] > members) busy = max(busy, bytes / members / member_rate(cluster, l));
  }
  return busy;
}

Seconds all_to_all_time(Bytes bytes, const Span& span, const Cluster& cluster) {
  Seconds busy;
  for (std::size_t l = domain_levels(cluster); l < span.inside.size(); ++l) {
    const double remote = 1 - static_cast<double>(below(span, l)) / span.size();
    if (span.inside[l] > below(span, l)) busy = max(busy, remote * bytes / member_rate(cluster, l));
  }
  return busy / network_constants().all_to_all_share;
}

std::size_t outermost(const Span& span) {
  std::size_t level = 0;
  for (std::size_t l = 1; l < span.inside.size(); ++l) {
    if (span.inside[l] > span.inside[l - 1]) level = l;
  }
  return level;
}

struct Group {
  int ranks;
  int inner;        // members of a domain
  int domains;      // rounded up
  Seconds latency;  // of the outermost level crossed
};

// The latency of hops inside domains and over the network.
Seconds hops(const AlgorithmConstants& how, const Group& group, double inner, double outer) {
  return how.base + inner * how.inner_hop + outer * max(how.outer_hop, group.latency);
}

int ceil_log2(int n) {
  int log = 0;
  while ((1 << log) < n) ++log;
  return log;
}

Seconds finish(Seconds latency, Seconds network, const AlgorithmConstants& how, Seconds domain) {
  return latency + max(network / how.efficiency, domain);
}

// `rounds` trips round the ring: 2 for all-reduce, 1 for gather, scatter and broadcast.
Seconds ring_time(double rounds, const Group& group, Seconds network, Seconds domain) {
  const double outer = rounds * (group.domains - 1);
  const double inner = rounds * (group.ranks - 1) - outer;
  const Seconds simple = finish(hops(network_constants().ring, group, inner, outer), network,
                                network_constants().ring, domain);
  const Seconds low = finish(hops(network_constants().ring_low_latency, group, inner, outer),
                             network, network_constants().ring_low_latency, domain);
  return min(simple, low);
}

Seconds tree_time(const Group& group, Seconds network, Seconds domain) {
  const double outer = 2 * ceil_log2(group.domains);
  const double inner = 2 * (group.inner - 1);
  const Seconds simple = finish(hops(network_constants().tree, group, inner, outer), network,
                                network_constants().tree, domain);
  const Seconds low = finish(hops(network_constants().tree_low_latency, group, inner, outer),
                             network, network_constants().tree_low_latency, domain);
  return min(simple, low);
}

Seconds all_reduce_time(Bytes bytes, const Span& span, const Cluster& cluster, const Group& group,
                        Seconds domain) {
  const double rounds = 2.0 * (group.ranks - 1) / group.ranks;
  const Seconds ring = ring_time(2, group, shared_time(rounds * bytes, span, cluster), domain);
  Seconds best = min(ring, tree_time(group, shared_time(2 * bytes, span, cluster), domain));
  if (cluster.levels[outermost(span)].in_network_reduction) {
    const Seconds latency = hops(network_constants().in_network, group, 2 * (group.inner - 1), 2);
    best = min(best, finish(latency, shared_time(bytes, span, cluster),
                            network_constants().in_network, domain));
  }
  return best;
}

Seconds gather_time(Bytes bytes, const Span& span, const Cluster& cluster, const Group& group,
                    Seconds domain) {
  const double share = (group.ranks - 1.0) / group.ranks;
  const Seconds network = shared_time(share * bytes, span, cluster);
  const Seconds ring = ring_time(1, group, network, domain);
  if (group.inner > 1) return ring;
  const Seconds latency = hops(network_constants().doubling, group, 0, ceil_log2(group.domains));
  return min(ring, finish(latency, network, network_constants().doubling, domain));
}

Seconds send_time(Bytes bytes, const Span& span, const Cluster& cluster, const Group& group) {
  const Bandwidth rate = member_rate(cluster, outermost(span));
  const Seconds simple = hops(network_constants().ring, group, 0, 1) + bytes / rate;
  const Seconds low = hops(network_constants().ring_low_latency, group, 0, 1) +
                      bytes / (network_constants().ring_low_latency.efficiency * rate);
  return min(simple, low);
}

}  // namespace

Seconds network_time(const CollectiveShape& what, const Span& span, const Cluster& cluster,
                     Seconds domain) {
  const int inner = domain_members(span, cluster);
  const Group group{span.size(), inner, (span.size() + inner - 1) / inner,
                    cluster.levels[outermost(span)].latency.value};
  switch (what.what) {
    case CollectiveKind::AllReduce:
      return all_reduce_time(what.bytes, span, cluster, group, domain);
    case CollectiveKind::AllGather:
    case CollectiveKind::ReduceScatter:
      return gather_time(what.bytes, span, cluster, group, domain);
    case CollectiveKind::Broadcast:
      return ring_time(1, group, shared_time(what.bytes, span, cluster), domain);
    case CollectiveKind::SendRecv:
      return send_time(what.bytes, span, cluster, group);
    default:
      break;
  }
  const Seconds start = network_constants().all_to_all_start *
                        (what.bytes / (what.bytes + network_constants().all_to_all_full));
  const Seconds latency = max(network_constants().all_to_all_base, group.latency) +
                          network_constants().all_to_all_peer * (group.ranks - group.inner) + start;
  return latency + max(all_to_all_time(what.bytes, span, cluster), domain);
}

}  // namespace narrows

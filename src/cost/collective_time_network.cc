// SPDX-License-Identifier: Apache-2.0
#include "cost/collective_time_network.h"

#include "cost/collective_time.h"

namespace narrows {

namespace {

// Time of an algorithm's hops and its share of the links' bandwidth. NCCL's protocols: Simple moves
// large chunks, LL (low latency) flags every word and NCCL caps it at 20 to 35 GB/s a node of 8 x
// 50 GB/s.
struct Algorithm {
  Seconds base;
  Seconds inner_hop;  // NVLink
  Seconds outer_hop;  // network
  double efficiency = 1;
};

constexpr double kLowLatencyShare = 1.0 / 16;
constexpr Algorithm kRing{8.4 * us, 3.4 * us, 14.0 * us, 1};
constexpr Algorithm kRingLowLatency{6.6 * us, 1.8 * 0.6 * us, 2.7 * us, kLowLatencyShare};
constexpr Algorithm kTree{8.4 * us, 4.0 * us, 14.0 * us, 0.92 * 0.85};
constexpr Algorithm kTreeLowLatency{6.8 * us, 1.8 * 0.6 * us, 5.0 * us, 0.92 * kLowLatencyShare};
constexpr Algorithm kInNetwork{8.4 * us, 4.0 * us, 14.0 * us, 1};
// Recursive doubling of gather and scatter ("PAT"): one GPU a domain only.
constexpr Algorithm kDoubling{8.0 * us, 4.0 * us, 14.0 * us, 0.75};

// Share of the nominal rate that large messages reach: 48 of 50 GB/s, 192 of 200, 24 of 25 (the
// plateaus of all-reduce in NVIDIA's GTC slides, and of the 8 x 400 Gb/s table); but no more than
// this multiple of a level's usable rate (48 of 44 GB/s on NDR InfiniBand).
constexpr double kPlateau = 0.96;
constexpr double kAboveUsable = 1.1;

// All-to-all: share of that rate, latency of the call and of each remote peer, and the start of the
// pipelines of the network proxies, which a message pays as far as it fills them. Fitted to the
// table in hwprofiles/collectives/multi_node.
constexpr double kAllToAllShare = 0.98;
constexpr Seconds kAllToAllBase = 15 * us;
constexpr Seconds kAllToAllPeer = 0.6 * us;
constexpr Seconds kAllToAllStart = 95 * us;
constexpr Bytes kAllToAllFull = 4 * MiB;

int below(const Span& span, std::size_t level) { return level == 0 ? 1 : span.inside[level - 1]; }

// One member's share of a level, oversubscription of the groups below included.
Bandwidth member_rate(const Cluster& cluster, std::size_t l) {
  const Level& level = cluster.levels[l];
  const double squeeze = l == 0 ? 1.0 : cluster.levels[l - 1].oversubscription;
  const Bandwidth most = kPlateau * level.nominal.value;
  if (level.usable.value <= Bandwidth{}) return most / squeeze;
  return min(most, kAboveUsable * level.usable.value) / squeeze;
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
  return busy / kAllToAllShare;
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

// A ring or a pair: `steps` in all, `outer` of them over the network.
Seconds hops(const Algorithm& how, const Group& group, double inner, double outer) {
  return how.base + inner * how.inner_hop + outer * max(how.outer_hop, group.latency);
}

int ceil_log2(int n) {
  int log = 0;
  while ((1 << log) < n) ++log;
  return log;
}

Seconds finish(Seconds latency, Seconds network, const Algorithm& how, Seconds domain) {
  return latency + max(network / how.efficiency, domain);
}

// `rounds` trips round the ring: 2 for all-reduce, 1 for gather, scatter and broadcast.
Seconds ring_time(double rounds, const Group& group, Seconds network, Seconds domain) {
  const double outer = rounds * (group.domains - 1);
  const double inner = rounds * (group.ranks - 1) - outer;
  const Seconds simple = finish(hops(kRing, group, inner, outer), network, kRing, domain);
  const Seconds low =
      finish(hops(kRingLowLatency, group, inner, outer), network, kRingLowLatency, domain);
  return min(simple, low);
}

Seconds tree_time(const Group& group, Seconds network, Seconds domain) {
  const double outer = 2 * ceil_log2(group.domains);
  const double inner = 2 * (group.inner - 1);
  const Seconds simple = finish(hops(kTree, group, inner, outer), network, kTree, domain);
  const Seconds low =
      finish(hops(kTreeLowLatency, group, inner, outer), network, kTreeLowLatency, domain);
  return min(simple, low);
}

Seconds all_reduce_time(Bytes bytes, const Span& span, const Cluster& cluster, const Group& group,
                        Seconds domain) {
  const double rounds = 2.0 * (group.ranks - 1) / group.ranks;
  const Seconds ring = ring_time(2, group, shared_time(rounds * bytes, span, cluster), domain);
  Seconds best = min(ring, tree_time(group, shared_time(2 * bytes, span, cluster), domain));
  if (cluster.levels[outermost(span)].in_network_reduction) {
    const Seconds latency = hops(kInNetwork, group, 2 * (group.inner - 1), 2);
    best = min(best, finish(latency, shared_time(bytes, span, cluster), kInNetwork, domain));
  }
  return best;
}

Seconds gather_time(Bytes bytes, const Span& span, const Cluster& cluster, const Group& group,
                    Seconds domain) {
  const double share = (group.ranks - 1.0) / group.ranks;
  const Seconds network = shared_time(share * bytes, span, cluster);
  const Seconds ring = ring_time(1, group, network, domain);
  if (group.inner > 1) return ring;
  const Seconds latency = hops(kDoubling, group, 0, ceil_log2(group.domains));
  return min(ring, finish(latency, network, kDoubling, domain));
}

Seconds send_time(Bytes bytes, const Span& span, const Cluster& cluster, const Group& group) {
  const Bandwidth rate = member_rate(cluster, outermost(span));
  const Seconds simple = hops(kRing, group, 0, 1) + bytes / rate;
  const Seconds low = hops(kRingLowLatency, group, 0, 1) + bytes / (kLowLatencyShare * rate);
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
  const Seconds start = kAllToAllStart * (what.bytes / (what.bytes + kAllToAllFull));
  const Seconds latency =
      max(kAllToAllBase, group.latency) + kAllToAllPeer * (group.ranks - group.inner) + start;
  return latency + max(all_to_all_time(what.bytes, span, cluster), domain);
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cost/collective_time.h"

#include "cost/collective_time_constants.h"
#include "cost/collective_time_curves.h"
#include "cost/collective_time_network.h"
#include "cost/machine_links.h"
#include "cost/machine_times.h"

namespace narrows {

namespace {

// Below this share of nominal a level is slower than the links that the curves were measured on
// (0.75 to 0.86).
constexpr double kUsualUsableShare = 0.7;

Estimate domain_estimate(CollectiveKind kind, Bytes bytes, int ranks, const Cluster& cluster) {
  const Level& level = cluster.levels.front();
  return domain_time({.what = kind,
                      .ranks = ranks,
                      .bytes = bytes,
                      .chip = cluster.chip.name,
                      .like = cluster.chip.kernels_like,
                      .architecture = cluster.chip.architecture,
                      .link = link_rate(level),
                      .in_network_reduction = level.in_network_reduction},
                     published_curves());
}

// A group of `ranks` inside the domain. A broadcast takes the pipeline of an all-gather with all
// bytes on each link; a send is an all-to-all of two, which keeps half of its bytes.
Estimate inside_time(const CollectiveShape& what, int ranks, const Cluster& cluster) {
  if (what.what == CollectiveKind::Broadcast) {
    const double whole = static_cast<double>(ranks) / (ranks - 1);
    return domain_estimate(CollectiveKind::AllGather, whole * what.bytes, ranks, cluster);
  }
  if (what.what == CollectiveKind::SendRecv) {
    return domain_estimate(CollectiveKind::AllToAll, 2 * what.bytes, 2, cluster);
  }
  return domain_estimate(what.what, what.bytes, ranks, cluster);
}

// How long the domain's links are busy with its part of a larger group: the curve without its
// latency. Gathered bytes all pass each member's link. Sends and all-to-all are bound by their
// floor in collective_time.
Seconds domain_busy(const CollectiveShape& what, int members, const Cluster& cluster) {
  const bool gathers =
      what.what != CollectiveKind::SendRecv && what.what != CollectiveKind::AllToAll;
  if (members < 2 || !gathers) return {};
  CollectiveShape least = what;
  least.bytes = byte;
  return inside_time(what, members, cluster).time - inside_time(least, members, cluster).time;
}

}  // namespace

int domain_levels(const Cluster& cluster) {
  if (cluster.gpus_per_node < 2) return 0;
  int count = 1;
  const Bandwidth inner = cluster.levels.front().nominal.value;
  while (count < static_cast<int>(cluster.levels.size()) &&
         cluster.levels[count].nominal.value >= 0.99 * inner &&
         cluster.levels[count].nominal.value <= 1.01 * inner &&
         cluster.levels[count - 1].oversubscription <= 1) {
    ++count;
  }
  return count;
}

int domain_members(const Span& span, const Cluster& cluster) {
  const int levels = domain_levels(cluster);
  if (levels == 0 || span.inside.empty()) return 1;
  ASSERT(levels <= static_cast<int>(span.inside.size()));
  return span.inside[levels - 1];
}

Bandwidth link_rate(const Level& level) {
  if (level.usable.value <= Bandwidth{}) return level.nominal.value;
  return min(level.nominal.value, level.usable.value / kUsualUsableShare);
}

Estimate collective_time(const CollectiveShape& what, const Span& span, const Cluster& cluster) {
  ASSERT(what.what != CollectiveKind::Dispatch);
  ASSERT(what.what != CollectiveKind::Combine);
  if (span.size() < 2 || what.bytes <= Bytes{}) return {Seconds{}, Basis::Measured, 0};
  ASSERT(span.inside.size() == cluster.levels.size());
  if (is_machine(cluster.chip))
    return machine_collective_time(what.what, span.size(), what.bytes, cluster);
  const int members = domain_members(span, cluster);
  if (members == span.size()) return inside_time(what, members, cluster);
  const Seconds busy = domain_busy(what, members, cluster);
  Estimate estimate{network_time(what, span, cluster, busy), Basis::Transferred,
                    network_constants().error};
  // The network is no faster than the same group would be inside a domain.
  if (domain_levels(cluster) > 0) {
    estimate.time = max(estimate.time, inside_time(what, span.size(), cluster).time);
  }
  return estimate;
}

}  // namespace narrows

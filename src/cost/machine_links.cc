// SPDX-License-Identifier: Apache-2.0
#include "cost/machine_links.h"

#include <algorithm>

#include "base/result.h"

namespace narrows {
namespace {

constexpr double kMeasured = 0.05;
constexpr double kCarried = 0.2;
constexpr double kNominal = 0.5;

// Bytes that a member sends, over the bytes of the call; and its messages one after another.
struct Traffic {
  double share = 1;
  int steps = 1;
};
Traffic traffic_of(CollectiveKind what, int ranks) {
  const double others = (ranks - 1.0) / ranks;
  switch (what) {
    case CollectiveKind::AllReduce:
      return {2 * others, 2};
    case CollectiveKind::AllGather:
    case CollectiveKind::ReduceScatter:
    case CollectiveKind::AllToAll:
      return {others, 1};
    case CollectiveKind::Broadcast:
      return {ranks - 1.0, 1};
    default:
      return {1, 1};
  }
}

// The curve of this group, or of the next larger one, or of the largest.
const MeasuredCollective* curve_of(const Cluster& cluster, CollectiveKind what, int ranks) {
  const std::string name = to_string(what);
  const MeasuredCollective* best = nullptr;
  for (const MeasuredCollective& curve : cluster.collectives) {
    if (curve.what != name) continue;
    const bool is_nearer = best == nullptr || (best->ranks < ranks ? curve.ranks > best->ranks
                                                                   : curve.ranks >= ranks &&
                                                                         curve.ranks < best->ranks);
    if (is_nearer) best = &curve;
  }
  return best;
}

Seconds on_curve(const MeasuredCollective& curve, Bytes bytes) {
  const auto& points = curve.points;
  ASSERT(!points.empty());
  if (bytes <= points.front().bytes) return points.front().time;
  if (points.size() == 1) return (bytes / points.front().bytes) * points.front().time;
  std::size_t right = 1;
  while (right + 1 < points.size() && points[right].bytes < bytes) ++right;
  const auto& a = points[right - 1];
  const auto& b = points[right];
  const Seconds line = a.time + (b.time - a.time) * ((bytes - a.bytes) / (b.bytes - a.bytes));
  return max(line, min(a.time, b.time));
}

// What an emulated link adds.
Seconds emulated(const Traffic& traffic, Bytes bytes, const Level& level) {
  if (level.usable.value >= 0.99 * level.nominal.value) return {};
  return traffic.share * bytes / level.usable.value + traffic.steps * level.latency.value;
}

}  // namespace

Estimate machine_collective_time(CollectiveKind what, int ranks, Bytes bytes,
                                 const Cluster& cluster) {
  ASSERT(ranks >= 2);
  const Level& level = cluster.levels.back();
  const Traffic traffic = traffic_of(what, ranks);
  const Seconds added = emulated(traffic, bytes, level);
  const MeasuredCollective* curve = curve_of(cluster, what, ranks);
  if (curve == nullptr) {
    const Seconds time =
        traffic.share * bytes / level.nominal.value + traffic.steps * level.latency.value;
    return {time + added, Basis::Roofline, kNominal};
  }
  if (curve->ranks == ranks) {
    return {on_curve(*curve, bytes) + added, Basis::Interpolated, kMeasured};
  }
  const double carried = traffic.share / traffic_of(what, curve->ranks).share;
  return {on_curve(*curve, carried * bytes) + added, Basis::Transferred, kCarried};
}

}  // namespace narrows

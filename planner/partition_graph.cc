// Partitions as shortest paths on layered graphs, where the length of a path is its longest edge (Boost.Graph's
// dag_shortest_paths with max as the way to combine).
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <map>

#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/dag_shortest_paths.hpp>

#include "base/result.h"
#include "planner/partition.h"

namespace narrows {
namespace {

using Weight = std::int64_t;
using LayeredGraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property,
                                           boost::property<boost::edge_weight_t, Weight>>;
using Vertex = LayeredGraph::vertex_descriptor;

std::vector<Weight> prefix_sums(const std::vector<Tick>& work) {
  std::vector<Weight> sums{0};
  for (const Tick w : work) sums.push_back(sums.back() + w.ns);
  return sums;
}

struct Paths {
  std::vector<Weight> length;
  std::vector<Vertex> before;
};

Paths bottleneck_paths(const LayeredGraph& graph, Vertex source) {
  const std::size_t n = boost::num_vertices(graph);
  Paths paths{std::vector<Weight>(n), std::vector<Vertex>(n)};
  boost::dag_shortest_paths(graph, source,
                            boost::distance_map(paths.length.data())
                                .predecessor_map(paths.before.data())
                                .distance_combine([](Weight a, Weight b) { return std::max(a, b); })
                                .distance_inf(std::numeric_limits<Weight>::max())
                                .distance_zero(0));
  return paths;
}

}  // namespace

Tick bottleneck_by_shortest_path(const std::vector<Tick>& work, int stages) {
  const int items = static_cast<int>(work.size());
  const std::vector<Weight> sums = prefix_sums(work);
  const auto vertex = [&](int stage, int item) { return static_cast<Vertex>(stage * (items + 1) + item); };
  LayeredGraph graph(static_cast<std::size_t>((stages + 1) * (items + 1)));
  for (int stage = 0; stage < stages; ++stage) {
    for (int from = stage; from < items; ++from) {
      for (int to = from + 1; to <= items; ++to) {
        const Weight w = sums[static_cast<std::size_t>(to)] - sums[static_cast<std::size_t>(from)];
        boost::add_edge(vertex(stage, from), vertex(stage + 1, to), w, graph);
      }
    }
  }
  return {bottleneck_paths(graph, vertex(0, 0)).length[vertex(stages, items)]};
}

Cuts folded_partition(const std::vector<Tick>& work, int stages) {
  ASSERT(stages % 2 == 0);
  ASSERT(static_cast<int>(work.size()) >= stages);
  const int items = static_cast<int>(work.size());
  const int ranks = stages / 2;
  const std::vector<Weight> sums = prefix_sums(work);
  const auto sum = [&](int from, int to) { return sums[static_cast<std::size_t>(to)] - sums[static_cast<std::size_t>(from)]; };
  // Runs much longer than the mean cannot be on a best path: a bound on the answer from a feasible partition (the plain
  // min-max one folded) prunes the graph.
  Weight limit = std::numeric_limits<Weight>::max();
  {
    const Cuts plain = min_max_partition(work, stages);
    const auto run = [&](int s) { return sum(s == 0 ? 0 : plain[static_cast<std::size_t>(s - 1)] + 1, plain[static_cast<std::size_t>(s)] + 1); };
    Weight worst = 0;
    for (int k = 0; k < ranks; ++k) worst = std::max(worst, run(k) + run(stages - 1 - k));
    limit = worst;
  }
  // Vertex (k, i, j): ranks 0 … k-1 have taken items [0, i) and [j, items). Made as they are reached.
  LayeredGraph graph;
  std::map<std::pair<int, std::pair<int, int>>, Vertex> known;
  std::vector<std::pair<int, int>> layer{{0, items}};
  std::vector<std::pair<int, std::pair<int, int>>> names;
  const auto vertex = [&](int k, int i, int j) {
    const auto [at, fresh] = known.try_emplace({k, {i, j}}, names.size());
    if (fresh) {
      boost::add_vertex(graph);
      names.push_back({k, {i, j}});
    }
    return std::pair(at->second, fresh);
  };
  vertex(0, 0, items);
  const Vertex sink = boost::add_vertex(graph);
  names.push_back({ranks, {-1, -1}});
  for (int k = 0; k < ranks; ++k) {
    std::vector<std::pair<int, int>> next;
    const int left = ranks - 1 - k;  // ranks still to come, two stages each
    for (const auto& [i, j] : layer) {
      const Vertex from = known.at({k, {i, j}});
      for (int a = 1; i + a + 1 + 2 * left <= j; ++a) {
        if (sum(i, i + a) > limit) break;
        for (int b = 1; i + a + b + 2 * left <= j; ++b) {
          const Weight w = sum(i, i + a) + sum(j - b, j);
          if (w > limit) break;
          if (left == 0) {
            if (i + a == j - b) boost::add_edge(from, sink, w, graph);
            continue;
          }
          // What remains must fit as well.
          if (sum(i + a, j - b) > limit * left) continue;
          const auto [to, fresh] = vertex(k + 1, i + a, j - b);
          if (fresh) next.emplace_back(i + a, j - b);
          boost::add_edge(from, to, w, graph);
        }
      }
    }
    layer = std::move(next);
  }
  const Paths paths = bottleneck_paths(graph, 0);
  // The cut inside the innermost rank is the only thing the sink does not say: choose the best there.
  Cuts first, second;
  Vertex at = paths.before[sink];
  {
    const auto [i, j] = names[at].second;
    // Both chunks of the innermost rank are one run: halve it as evenly as possible.
    int best = i + 1;
    for (int c = i + 1; c < j; ++c) {
      if (std::max(sum(i, c), sum(c, j)) < std::max(sum(i, best), sum(best, j))) best = c;
    }
    first.push_back(best - 1);
    second.push_back(j - 1);
  }
  while (at != 0) {
    const auto [i, j] = names[at].second;
    first.push_back(i - 1);
    at = paths.before[at];
    second.push_back(names[at].second.second - 1);
  }
  std::reverse(first.begin(), first.end());
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace narrows

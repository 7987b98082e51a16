// Partitions as shortest paths on layered graphs, where the length of a path is its longest edge
// (Boost.Graph's dag_shortest_paths with max as the way to combine).
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/dag_shortest_paths.hpp>
#include <limits>
#include <map>

#include "base/result.h"
#include "planner/partition.h"

namespace narrows {
namespace {

using Weight = std::int64_t;
using LayeredGraph =
    boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property,
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
  const auto vertex = [&](int stage, int item) {
    return static_cast<Vertex>(stage * (items + 1) + item);
  };
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

namespace {

// The graph of folded partitions. Vertex (i, j) of layer k: ranks 0 … k-1 have taken items [0, i)
// and [j, items); an edge gives rank k its two runs. The innermost rank takes what is left.
class FoldedGraph {
 public:
  FoldedGraph(const std::vector<Tick>& work, int ranks)
      : sums_(prefix_sums(work)), items_(static_cast<int>(work.size())), ranks_(ranks) {
    places_ = {{0, items_}, {-1, -1}};
    build(feasible_limit(work));
  }

  Cuts best() {
    // First the slowest rank, then among the best the longest single run: even stages fill the
    // pipeline sooner.
    const Weight slowest =
        solve([](const Edge& e) { return e.rank; }, std::numeric_limits<Weight>::max())
            .length[kSink];
    const Paths paths = solve([](const Edge& e) { return e.longest; }, slowest);
    Cuts first, second;
    Vertex at = paths.before[kSink];
    const auto [i, j] = places_[at];
    first.push_back(middle(i, j) - 1);
    second.push_back(j - 1);
    for (; at != kSource; at = paths.before[at]) {
      first.push_back(places_[at].first - 1);
      second.push_back(places_[paths.before[at]].second - 1);
    }
    std::reverse(first.begin(), first.end());
    first.insert(first.end(), second.begin(), second.end());
    return first;
  }

 private:
  static constexpr Vertex kSource = 0, kSink = 1;
  struct Edge {
    Vertex from, to;
    Weight rank;     // both runs together
    Weight longest;  // the longer of them
  };

  Weight sum(int from, int to) const {
    return sums_[static_cast<std::size_t>(to)] - sums_[static_cast<std::size_t>(from)];
  }
  // Where the innermost rank's run is cut in two: as evenly as possible.
  int middle(int i, int j) const {
    int best = i + 1;
    for (int c = i + 1; c < j; ++c) {
      if (std::max(sum(i, c), sum(c, j)) < std::max(sum(i, best), sum(best, j))) best = c;
    }
    return best;
  }
  // The plain min-max partition, folded, bounds the answer and so prunes the graph.
  Weight feasible_limit(const std::vector<Tick>& work) const {
    const Cuts cuts = min_max_partition(work, 2 * ranks_);
    const auto run = [&](int s) {
      const int from = s == 0 ? 0 : cuts[static_cast<std::size_t>(s - 1)] + 1;
      return sum(from, cuts[static_cast<std::size_t>(s)] + 1);
    };
    Weight worst = 0;
    for (int k = 0; k < ranks_; ++k) worst = std::max(worst, run(k) + run(2 * ranks_ - 1 - k));
    return worst;
  }

  void build(Weight limit) {
    std::vector<Vertex> layer{kSource};
    for (int k = 0; k + 1 < ranks_; ++k) {
      const int left = ranks_ - 1 - k;
      std::map<std::pair<int, int>, Vertex> next;
      for (const Vertex from : layer) {
        const auto [i, j] = places_[from];
        for (int a = 1; i + a + 1 + 2 * left <= j && sum(i, i + a) <= limit; ++a) {
          for (int b = 1; i + a + b + 2 * left <= j; ++b) {
            const Weight up = sum(i, i + a), down = sum(j - b, j);
            if (up + down > limit) break;
            if (sum(i + a, j - b) > limit * left) continue;  // what remains must fit as well
            const auto [place, fresh] = next.try_emplace({i + a, j - b}, places_.size());
            if (fresh) places_.emplace_back(i + a, j - b);
            edges_.push_back({from, place->second, up + down, std::max(up, down)});
          }
        }
      }
      layer.clear();
      for (const auto& [place, vertex] : next) layer.push_back(vertex);
    }
    for (const Vertex from : layer) {
      const auto [i, j] = places_[from];
      const int cut = middle(i, j);
      edges_.push_back({from, kSink, sum(i, j), std::max(sum(i, cut), sum(cut, j))});
    }
  }

  template <typename Length>
  Paths solve(Length length, Weight slowest_rank) const {
    LayeredGraph graph(places_.size());
    for (const Edge& e : edges_) {
      if (e.rank <= slowest_rank) boost::add_edge(e.from, e.to, length(e), graph);
    }
    return bottleneck_paths(graph, kSource);
  }

  std::vector<Weight> sums_;
  int items_;
  int ranks_;
  std::vector<std::pair<int, int>> places_;  // vertex -> (i, j)
  std::vector<Edge> edges_;
};

}  // namespace

Cuts folded_partition(const std::vector<Tick>& work, int stages) {
  ASSERT(stages % 2 == 0);
  ASSERT(static_cast<int>(work.size()) >= stages);
  return FoldedGraph(work, stages / 2).best();
}

}  // namespace narrows

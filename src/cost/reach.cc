// SPDX-License-Identifier: Apache-2.0
#include "cost/reach.h"

#include <algorithm>
#include <map>

#include "base/random.h"
#include "base/result.h"

namespace narrows {

namespace {

constexpr std::uint64_t kSeed = 0x5245414348;  // "REACH"

// The highest scores of one group, descending; at most as many as a token can take.
class Best {
 public:
  explicit Best(int most) : most_(static_cast<std::size_t>(most)) {}
  void clear() { scores_.clear(); }
  void add(double score) {
    if (scores_.size() == most_) {
      if (score <= scores_.back()) return;
      scores_.pop_back();
    }
    scores_.insert(std::upper_bound(scores_.begin(), scores_.end(), score, std::greater<>()),
                   score);
  }
  double sum(int count) const {
    double total = 0;
    for (std::size_t i = 0; i < scores_.size() && i < static_cast<std::size_t>(count); ++i) {
      total += scores_[i];
    }
    return total;
  }
  const std::vector<double>& scores() const { return scores_; }

 private:
  std::size_t most_;
  std::vector<double> scores_;
};

// Experts that one token takes of each group.
std::vector<int> draw_token(const RouterShape& routing, Random& random, std::vector<Best>& best) {
  const int size = routing.experts / routing.groups;
  std::vector<std::pair<double, int>> order;
  for (int g = 0; g < routing.groups; ++g) {
    best[g].clear();
    for (int e = 0; e < size; ++e) best[g].add(random.uniform());
    order.emplace_back(-best[g].sum(routing.group_best), g);
  }
  std::sort(order.begin(), order.end());
  std::vector<std::pair<double, int>> scores;
  for (int i = 0; i < routing.top_groups; ++i) {
    for (const double score : best[order[i].second].scores())
      scores.emplace_back(-score, order[i].second);
  }
  std::sort(scores.begin(), scores.end());
  std::vector<int> taken(routing.groups, 0);
  for (int k = 0; k < routing.top_k; ++k) ++taken[scores[k].second];
  return taken;
}

// The chance that `draws` distinct of `size` avoid `marked` given ones: C(size - marked, draws) /
// C(size, draws).
double chance_to_miss(int size, int marked, int draws) {
  if (draws > size - marked) return 0;
  double chance = 1;
  for (int i = 0; i < draws; ++i) chance *= static_cast<double>(size - marked - i) / (size - i);
  return chance;
}

// The chance that experts [first, last) get none of the token.
double chance_to_miss(const RouterShape& routing, const std::vector<int>& taken, int first, int last) {
  const int groups = static_cast<int>(taken.size());
  const int size = routing.experts / groups;
  double chance = 1;
  for (int g = first / size; g < groups && g * size < last; ++g) {
    const int marked = std::min(last, (g + 1) * size) - std::max(first, g * size);
    if (taken[g] > 0 && marked > 0) chance *= chance_to_miss(size, marked, taken[g]);
  }
  return chance;
}

// Expected places hit, when the ranks are cut into places of `width` ranks in order.
double expected_places(const RouterShape& routing, int ep, int width, const GroupCounts& counts) {
  const auto first_expert = [&](int rank) {
    return static_cast<int>(static_cast<std::int64_t>(rank) * routing.experts / ep);
  };
  double expected = 0;
  for (const GroupCounts::Row& row : counts.rows) {
    double hit = 0;
    for (int rank = 0; rank < ep; rank += width) {
      const int last = first_expert(std::min(ep, rank + width));
      hit += 1 - chance_to_miss(routing, row.experts, first_expert(rank), last);
    }
    expected += row.share * hit;
  }
  return expected;
}

}  // namespace

RouterShape router_of(const MoeSpec& moe) {
  return {.experts = moe.experts,
          .top_k = moe.top_k,
          .groups = moe.groups,
          .top_groups = moe.top_groups};
}

bool is_group_limited(const RouterShape& routing) { return routing.top_groups < routing.groups; }

GroupCounts sample_groups(const RouterShape& routing, int tokens) {
  ASSERT(routing.top_k >= 1);
  ASSERT(routing.top_k <= routing.experts);
  if (!is_group_limited(routing)) return {{{{routing.top_k}, 1.0}}};
  ASSERT(routing.top_groups >= 1);
  ASSERT(routing.experts % routing.groups == 0);
  ASSERT(routing.top_k <= routing.experts / routing.groups * routing.top_groups);
  Random random(kSeed);
  std::vector<Best> best(routing.groups, Best(std::max(routing.top_k, routing.group_best)));
  std::map<std::vector<int>, int> seen;
  for (int t = 0; t < tokens; ++t) ++seen[draw_token(routing, random, best)];
  GroupCounts counts;
  for (const auto& [taken, times] : seen) {
    counts.rows.push_back({taken, static_cast<double>(times) / tokens});
  }
  return counts;
}

Reach expected_reach(const RouterShape& routing, int ep, int gpus_per_node, const GroupCounts& counts) {
  ASSERT(ep >= 1);
  ASSERT(ep <= routing.experts);
  const int width = std::clamp(gpus_per_node, 1, ep);
  Reach reach;
  reach.gpus = expected_places(routing, ep, 1, counts);
  reach.nodes = width == 1 ? reach.gpus : expected_places(routing, ep, width, counts);
  // Own place: the mean share of ranks outside the token's own rank and node.
  const int full = ep / width;
  const int rest = ep % width;
  const double own_node =
      (static_cast<double>(full) * width * width + static_cast<double>(rest) * rest) / ep / ep;
  reach.remote_gpus = reach.gpus * (1 - 1.0 / ep);
  reach.remote_nodes = reach.nodes * (1 - own_node);
  return reach;
}

Reach expected_reach(const RouterShape& routing, int ep, int gpus_per_node) {
  return expected_reach(routing, ep, gpus_per_node, sample_groups(routing));
}

}  // namespace narrows

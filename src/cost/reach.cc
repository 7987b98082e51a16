// SPDX-License-Identifier: Apache-2.0
#include "cost/reach.h"

#include <algorithm>
#include <map>

#include "base/random.h"
#include "base/result.h"

namespace narrows {

namespace {

constexpr std::uint64_t kSeed = 0x5245414348;  // "REACH"

// The highest scores so far with their owners, descending; at most `most`.
class Best {
 public:
  explicit Best(std::size_t most) : most_(most) {}
  void clear() { held_.clear(); }
  void add(double score, int owner) {
    if (held_.size() == most_) {
      if (score <= held_.back().first) return;
      held_.pop_back();
    }
    std::size_t place = held_.size();
    held_.emplace_back(score, owner);
    for (; place > 0 && held_[place - 1].first < score; --place) held_[place] = held_[place - 1];
    held_[place] = {score, owner};
  }
  double sum() const {
    double total = 0;
    for (const auto& [score, owner] : held_) total += score;
    return total;
  }
  const std::vector<std::pair<double, int>>& held() const { return held_; }

 private:
  std::size_t most_;
  std::vector<std::pair<double, int>> held_;
};

// Draws tokens one after the other: experts taken of each group.
class Tokens {
 public:
  explicit Tokens(const RouterShape& routing)
      : routing_(routing),
        scores_(routing.experts),
        in_group_(routing.group_best),
        groups_(routing.top_groups),
        experts_(routing.top_k) {}

  std::vector<int> next() {
    const int size = routing_.experts / routing_.groups;
    groups_.clear();
    experts_.clear();
    for (int g = 0; g < routing_.groups; ++g) {
      in_group_.clear();
      for (int e = g * size; e < (g + 1) * size; ++e)
        in_group_.add(scores_[e] = random_.uniform(), g);
      groups_.add(in_group_.sum(), g);
    }
    for (const auto& [sum, g] : groups_.held()) {
      for (int e = g * size; e < (g + 1) * size; ++e) experts_.add(scores_[e], g);
    }
    std::vector<int> taken(routing_.groups, 0);
    for (const auto& [score, g] : experts_.held()) ++taken[g];
    return taken;
  }

 private:
  RouterShape routing_;
  Random random_{kSeed};
  std::vector<double> scores_;
  Best in_group_;
  Best groups_;
  Best experts_;
};

// The chance that `draws` distinct of `size` avoid `marked` given ones: C(size - marked, draws) /
// C(size, draws).
double chance_to_miss(int size, int marked, int draws) {
  if (draws > size - marked) return 0;
  double chance = 1;
  for (int i = 0; i < draws; ++i) chance *= static_cast<double>(size - marked - i) / (size - i);
  return chance;
}

struct Range {
  int first;
  int last;  // past the end
};

// The chance that a range inside one group gets none of the token, groups being alike.
double miss_in_group(int size, int marked, const std::vector<double>& share_of_taken) {
  double chance = 0;
  for (std::size_t taken = 0; taken < share_of_taken.size(); ++taken) {
    chance += share_of_taken[taken] * chance_to_miss(size, marked, static_cast<int>(taken));
  }
  return chance;
}

// The same for a range over several groups, whose numbers depend on each other.
double miss_across_groups(int size, Range range, const GroupCounts& counts) {
  double chance = 0;
  for (const GroupCounts::Row& row : counts.rows) {
    double miss = row.share;
    for (int g = range.first / size; g * size < range.last; ++g) {
      const int marked = std::min(range.last, (g + 1) * size) - std::max(range.first, g * size);
      if (row.experts[g] > 0) miss *= chance_to_miss(size, marked, row.experts[g]);
    }
    chance += miss;
  }
  return chance;
}

// How often a group gets 0, 1, 2 … experts, over all groups and tokens.
std::vector<double> shares_of_taken(const RouterShape& routing, const GroupCounts& counts) {
  std::vector<double> share(routing.top_k + 1, 0.0);
  for (const GroupCounts::Row& row : counts.rows) {
    for (const int taken : row.experts)
      share[taken] += row.share / static_cast<double>(row.experts.size());
  }
  return share;
}

// Expected places hit, when the ranks are cut into places of `width` ranks in order.
double expected_places(const RouterShape& routing, int ep, int width, const GroupCounts& counts) {
  const int size = routing.experts / static_cast<int>(counts.rows.front().experts.size());
  const std::vector<double> shares = shares_of_taken(routing, counts);
  const auto first_expert = [&](int rank) {
    return static_cast<int>(static_cast<std::int64_t>(rank) * routing.experts / ep);
  };
  double expected = 0;
  for (int rank = 0; rank < ep; rank += width) {
    const Range range{first_expert(rank), first_expert(std::min(ep, rank + width))};
    const bool one_group = range.first / size == (range.last - 1) / size;
    expected += 1 - (one_group ? miss_in_group(size, range.last - range.first, shares)
                               : miss_across_groups(size, range, counts));
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
  ASSERT(routing.group_best >= 1);
  ASSERT(routing.experts % routing.groups == 0);
  ASSERT(routing.top_k <= routing.experts / routing.groups * routing.top_groups);
  Tokens drawn(routing);
  std::map<std::vector<int>, int> seen;
  for (int t = 0; t < tokens; ++t) ++seen[drawn.next()];
  GroupCounts counts;
  for (const auto& [taken, times] : seen) {
    counts.rows.push_back({taken, static_cast<double>(times) / tokens});
  }
  return counts;
}

Reach expected_reach(const RouterShape& routing, int ep, int gpus_per_node,
                     const GroupCounts& counts) {
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

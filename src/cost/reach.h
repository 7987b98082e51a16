// How many places a token's experts lie in: the expected distinct ranks and nodes that one token is
// sent to. Expert parallelism sends a token once to each, however many of its experts live there.
//
// Scores are uniform: every expert is as likely as any other. Without groups the experts are a
// random subset and the expectation is closed (hypergeometric). With group-limited routing
// (DeepSeek-V3) the number of experts that each group gets is sampled, 20,000 tokens with a fixed
// seed; given those numbers the places inside a group are exact, so that the error of a mean is
// below 0.2 % and the same on every machine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "model/spec.h"

namespace narrows {

// A token keeps the `top_groups` groups with the highest sum of their `group_best` highest scores,
// then its `top_k` experts among those.
struct RouterShape {
  int experts = 0;
  int top_k = 0;
  int groups = 1;
  int top_groups = 1;
  int group_best = 2;
  friend bool operator==(const RouterShape&, const RouterShape&) = default;
  friend auto operator<=>(const RouterShape&, const RouterShape&) = default;
};
RouterShape router_of(const MoeSpec& moe);

// Expected distinct destinations of a token. `nodes` and `gpus` include the token's own; the remote
// ones do not: a token's own place is any of them with equal chance.
struct Reach {
  double nodes = 0;
  double remote_nodes = 0;
  double gpus = 0;
  double remote_gpus = 0;
};

// How often each vector of experts per group (one entry a group) was drawn. One row of certainty
// without groups. Depends on the routing only: callers that ask for many layouts keep it.
struct GroupCounts {
  struct Row {
    std::vector<int> experts;  // by group
    double share = 0;          // of all tokens
  };
  std::vector<Row> rows;
};
inline constexpr int kSampledTokens = 20000;
GroupCounts sample_groups(const RouterShape& routing, int tokens = kSampledTokens);

// Whether groups constrain the choice at all.
bool is_group_limited(const RouterShape& routing);

// Experts lie on `ep` ranks in order, as evenly as whole numbers allow; ranks on nodes of
// `gpus_per_node` in order.
Reach expected_reach(const RouterShape& routing, int ep, int gpus_per_node);
// The same with counts that the caller kept.
Reach expected_reach(const RouterShape& routing, int ep, int gpus_per_node,
                     const GroupCounts& counts);

}  // namespace narrows

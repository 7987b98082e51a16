// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "hardware/cluster.h"

using namespace narrows;

namespace {

Cluster with_groups(const std::vector<int>& groups) {
  Cluster cluster;
  cluster.gpus = groups.back();
  for (const int group : groups) {
    Level level;
    level.group = group;
    cluster.levels.push_back(level);
  }
  return cluster;
}

// Counts, rank by rank, who shares rank 0's group on each level.
std::vector<int> counted(const Cluster& cluster, int size, int stride) {
  std::vector<int> inside;
  for (const Level& level : cluster.levels) {
    int members = 0;
    for (int i = 0; i < size; ++i) members += i * stride / level.group == 0 ? 1 : 0;
    inside.push_back(members);
  }
  return inside;
}

}  // namespace

TEST_CASE("span: agrees with counting rank by rank, over all groups of small clusters") {
  for (const std::vector<int>& groups :
       {std::vector<int>{8, 64}, {4, 72, 144}, {3, 7, 50}, {1, 16}, {24}}) {
    const Cluster cluster = with_groups(groups);
    for (int stride = 1; stride <= cluster.gpus; ++stride) {
      for (int size = 1; (size - 1) * stride < cluster.gpus; ++size) {
        REQUIRE(span_of(cluster, size, stride).inside == counted(cluster, size, stride));
      }
    }
  }
}

TEST_CASE("span: 64 expert ranks side by side lie on eight nodes, 16 pipeline ranks on one each") {
  const Cluster cluster = with_groups({8, 2048});
  CHECK(span_of(cluster, 64, 1).inside == std::vector<int>{8, 64});
  CHECK(span_of(cluster, 16, 128).inside == std::vector<int>{1, 16});
  CHECK(span_of(cluster, 1, 1).size() == 1);
}

// SPDX-License-Identifier: Apache-2.0
#include "cost/reach.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/random.h"

namespace narrows {
namespace {

const RouterShape kV3{.experts = 256, .top_k = 8, .groups = 8, .top_groups = 4};
const RouterShape kV3Free{.experts = 256, .top_k = 8};
const RouterShape kKimi{.experts = 384, .top_k = 8};

// DeepEP's own tests: a group a node, chosen by its highest score, at most four.
RouterShape deepep_test(int nodes) {
  return {.experts = 256,
          .top_k = 8,
          .groups = nodes,
          .top_groups = std::min(nodes, 4),
          .group_best = 1};
}

// Distinct places of one token by drawing scores one by one and sorting them all: no shared code,
// no shortcut.
struct Drawn {
  double nodes = 0;
  double gpus = 0;
};
Drawn draw(const RouterShape& routing, int ep, int node, Random& random) {
  const int size = routing.experts / routing.groups;
  std::vector<double> scores(routing.experts);
  for (double& score : scores) score = random.uniform();
  std::vector<std::pair<double, int>> groups;
  for (int g = 0; g < routing.groups; ++g) {
    std::vector<double> own(scores.begin() + g * size, scores.begin() + (g + 1) * size);
    std::sort(own.rbegin(), own.rend());
    double sum = 0;
    for (int i = 0; i < std::min(size, routing.group_best); ++i) sum += own[i];
    groups.emplace_back(sum, g);
  }
  std::sort(groups.rbegin(), groups.rend());
  std::vector<std::pair<double, int>> open;
  for (int i = 0; i < routing.top_groups; ++i) {
    for (int e = groups[i].second * size; e < (groups[i].second + 1) * size; ++e)
      open.emplace_back(scores[e], e);
  }
  std::sort(open.rbegin(), open.rend());
  std::vector<bool> gpu(ep), nodes((ep + node - 1) / node);
  for (int k = 0; k < routing.top_k; ++k) {
    // The rank whose range [r E / ep, (r + 1) E / ep) holds the expert.
    int rank = 0;
    while ((rank + 1) * routing.experts / ep <= open[k].second) ++rank;
    gpu[rank] = nodes[rank / node] = true;
  }
  return {static_cast<double>(std::count(nodes.begin(), nodes.end(), true)),
          static_cast<double>(std::count(gpu.begin(), gpu.end(), true))};
}

TEST_CASE("reach: the published table of DeepSeek-V3's node-limited routing, within 0.5 %") {
  struct Row {
    int ep;
    double nodes, remote_nodes, gpus, remote_gpus;
  };
  // 400,000 tokens drawn elsewhere; standard error at most 0.0014.
  const Row rows[] = {{8, 1, 0, 3.954, 3.459},
                      {16, 1.966, 0.983, 5.729, 5.371},
                      {32, 3.116, 2.337, 6.855, 6.641},
                      {64, 3.954, 3.460, 7.492, 7.375},
                      {128, 5.727, 5.369, 7.826, 7.765}};
  for (const Row& row : rows) {
    INFO("EP" << row.ep);
    const Reach reach = expected_reach(kV3, row.ep, 8);
    CHECK(reach.nodes == Approx(row.nodes).epsilon(0.005));
    CHECK(reach.remote_nodes == Approx(row.remote_nodes).epsilon(0.005).margin(1e-12));
    CHECK(reach.gpus == Approx(row.gpus).epsilon(0.005));
    CHECK(reach.remote_gpus == Approx(row.remote_gpus).epsilon(0.005));
  }
}

TEST_CASE("reach: without groups the published closed-form rows are exact") {
  const Reach v3 = expected_reach(kV3Free, 64, 8);
  CHECK(v3.nodes == Approx(5.2947).margin(5e-5));
  CHECK(v3.remote_nodes == Approx(4.6328).margin(5e-5));
  CHECK(v3.gpus == Approx(7.6758).margin(5e-5));
  CHECK(v3.remote_gpus == Approx(7.5558).margin(5e-5));
  const Reach kimi = expected_reach(kKimi, 64, 8);
  CHECK(kimi.nodes == Approx(5.2800).margin(5e-5));
  CHECK(kimi.remote_nodes == Approx(4.6200).margin(5e-5));
  CHECK(kimi.gpus == Approx(7.6420).margin(5e-5));
  CHECK(kimi.remote_gpus == Approx(7.5226).margin(5e-5));
}

TEST_CASE("reach: the distinct counts of DeepEP's own test routing, within 0.5 %") {
  struct Row {
    int ep;
    double nodes, remote_nodes, gpus;
  };
  const Row rows[] = {{8, 1, 0, 5.294},
                      {16, 1.995, 0.997, 6.52},
                      {32, 3.613, 2.706, 7.27},
                      {64, 3.984, 3.486, 7.469}};
  for (const Row& row : rows) {
    INFO("EP" << row.ep);
    const Reach reach = expected_reach(deepep_test(row.ep / 8), row.ep, 8);
    CHECK(reach.nodes == Approx(row.nodes).epsilon(0.005));
    CHECK(reach.remote_nodes == Approx(row.remote_nodes).epsilon(0.005).margin(1e-12));
    CHECK(reach.gpus == Approx(row.gpus).epsilon(0.005));
  }
}

TEST_CASE("reach: brute force agrees for layouts that cut groups and nodes unevenly") {
  struct Case {
    RouterShape routing;
    int ep, node;
  };
  const Case cases[] = {{kV3, 4, 8},
                        {kV3, 24, 8},
                        {kV3, 64, 4},
                        {kV3, 6, 2},
                        {kKimi, 40, 8},
                        {{.experts = 24, .top_k = 4, .groups = 4, .top_groups = 2}, 8, 3},
                        {{.experts = 16, .top_k = 4, .groups = 8, .top_groups = 3}, 4, 2}};
  for (const Case& c : cases) {
    INFO("experts " << c.routing.experts << " ep " << c.ep << " node " << c.node);
    Random random(11);
    Drawn mean;
    constexpr int kTokens = 20000;
    for (int t = 0; t < kTokens; ++t) {
      const Drawn one = draw(c.routing, c.ep, c.node, random);
      mean.nodes += one.nodes / kTokens;
      mean.gpus += one.gpus / kTokens;
    }
    const Reach reach = expected_reach(c.routing, c.ep, c.node);
    CHECK(reach.nodes == Approx(mean.nodes).epsilon(0.008));
    CHECK(reach.gpus == Approx(mean.gpus).epsilon(0.008));
  }
}

TEST_CASE("reach: one rank is one place, and none is remote") {
  const Reach reach = expected_reach(kV3, 1, 8);
  CHECK(reach.nodes == Approx(1));
  CHECK(reach.gpus == Approx(1));
  CHECK(reach.remote_nodes == 0);
  CHECK(reach.remote_gpus == 0);
}

TEST_CASE(
    "reach: never more places than experts of a token, ranks or nodes, and more ranks reach more") {
  for (const RouterShape& routing : {kV3, kV3Free, kKimi, deepep_test(8)}) {
    const GroupCounts counts = sample_groups(routing);
    double before = 0;
    for (int ep = 1; ep <= 128; ep *= 2) {
      const Reach reach = expected_reach(routing, ep, 8, counts);
      CHECK(reach.gpus <= std::min(ep, routing.top_k) + 1e-9);
      CHECK(reach.nodes <= reach.gpus + 1e-9);
      CHECK(reach.gpus > before);
      before = reach.gpus;
    }
  }
}

TEST_CASE("reach: the same routing gives the same bits again") {
  CHECK(expected_reach(kV3, 64, 8).gpus == expected_reach(kV3, 64, 8).gpus);
}

TEST_CASE("reach: four nodes at most under the limit of four groups, one group a node") {
  CHECK(expected_reach(kV3, 64, 8).nodes <= 4);
  CHECK(expected_reach(kV3Free, 64, 8).nodes > 5);
}

}  // namespace
}  // namespace narrows

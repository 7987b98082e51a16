// SPDX-License-Identifier: Apache-2.0
#include "cost/load.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "base/random.h"

namespace narrows {
namespace {

double normal(Random& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(6.283185307179586 * random.uniform());
}

// The mean over runs of the fullest rank over the mean, tokens drawn one by one: top_k distinct
// experts, inside top_groups random groups weighted as uniform scores choose them.
double simulated(const RouterShape& routing, int ep, int tokens, double spread, int runs) {
  Random random(7);
  double sum = 0;
  const int experts = routing.experts;
  for (int run = 0; run < runs; ++run) {
    std::vector<double> rows(experts, 0);
    if (routing.top_groups < routing.groups) {
      const GroupCounts drawn = sample_groups(routing, tokens * ep);
      const int size = experts / routing.groups;
      for (const auto& row : drawn.rows) {
        const int times = static_cast<int>(std::lround(row.share * tokens * ep));
        for (int t = 0; t < times; ++t) {
          const int shift = static_cast<int>(random.below(routing.groups));
          for (int g = 0; g < routing.groups; ++g) {
            std::vector<int> pool(size);
            for (int e = 0; e < size; ++e) pool[e] = (g + shift) % routing.groups * size + e;
            for (int i = 0; i < row.experts[g]; ++i) {
              std::swap(pool[i], pool[i + random.below(size - i)]);
              rows[pool[i]] += 1;
            }
          }
        }
      }
    } else {
      std::vector<int> pool(experts);
      for (int e = 0; e < experts; ++e) pool[e] = e;
      for (int t = 0; t < tokens * ep; ++t) {
        for (int i = 0; i < routing.top_k; ++i) {
          std::swap(pool[i], pool[i + random.below(experts - i)]);
          rows[pool[i]] += 1;
        }
      }
    }
    const double mean = static_cast<double>(tokens) * ep * routing.top_k / experts;
    for (double& row : rows) row += spread * mean * normal(random);
    double most = 0, total = 0;
    for (int rank = 0; rank < ep; ++rank) {
      double own = 0;
      for (int e = rank * experts / ep; e < (rank + 1) * experts / ep; ++e) own += rows[e];
      most = std::max(most, own);
      total += own;
    }
    sum += most / (total / ep);
  }
  return sum / runs;
}

TEST_CASE("load: the expected maximum of normals is the tabulated order statistic") {
  // Harter 1961.
  CHECK(expected_maximum_of_normals(1) == 0);
  CHECK(expected_maximum_of_normals(2) == Approx(0.56419).margin(2e-5));
  CHECK(expected_maximum_of_normals(3) == Approx(0.84628).margin(2e-5));
  CHECK(expected_maximum_of_normals(8) == Approx(1.42360).margin(2e-5));
  CHECK(expected_maximum_of_normals(64) == Approx(2.34374).margin(2e-4));
  CHECK(expected_maximum_of_normals(100) == Approx(2.50759).margin(2e-5));
}

TEST_CASE("load: balanced routing fluctuates as brute force says, within 1 %") {
  struct Case {
    RouterShape routing;
    int ep, tokens;
  };
  const Case cases[] = {{{.experts = 64, .top_k = 8}, 8, 128},
                        {{.experts = 64, .top_k = 6}, 32, 64},
                        {{.experts = 8, .top_k = 2}, 8, 256},
                        {{.experts = 128, .top_k = 8}, 16, 32}};
  for (const Case& c : cases) {
    INFO("ep " << c.ep << " tokens " << c.tokens);
    const double model = expected_max_over_mean(c.routing, c.ep, c.tokens);
    const double drawn = simulated(c.routing, c.ep, c.tokens, 0, 150);
    CHECK(model == Approx(drawn).epsilon(0.01));
    CHECK(model - 1 == Approx(drawn - 1).epsilon(0.15));
  }
}

TEST_CASE("load: group-limited routing fluctuates more, as brute force says") {
  const RouterShape limited{.experts = 64, .top_k = 8, .groups = 8, .top_groups = 2};
  const RouterShape open{.experts = 64, .top_k = 8};
  for (const int ep : {4, 8, 32}) {
    INFO("ep " << ep);
    const double model = expected_max_over_mean(limited, ep, 64);
    const double drawn = simulated(limited, ep, 64, 0, 40);
    CHECK(model == Approx(drawn).epsilon(0.02));
    CHECK(model > expected_max_over_mean(open, ep, 64));
  }
}

TEST_CASE("load: popular experts widen the load as brute force says, within 1 %") {
  const RouterShape routing{.experts = 64, .top_k = 8};
  const double model = expected_max_over_mean(routing, 16, 128, kTraceExpertSpread);
  CHECK(model == Approx(simulated(routing, 16, 128, kTraceExpertSpread, 300)).epsilon(0.01));
}

TEST_CASE("load: the spread of the published trace is the default for natural routing") {
  const double rows[] = {31104, 30976, 36864, 31104, 34688, 32512, 32896, 28416};
  double mean = 0, square = 0;
  for (const double row : rows) mean += row / 8;
  for (const double row : rows) square += (row - mean) * (row - mean) / 8;
  // 256 experts on 64 ranks: a rank's spread is half an expert's.
  CHECK(std::sqrt(square) / mean == Approx(kTraceExpertSpread / 2).epsilon(0.01));
}

TEST_CASE("load: one rank or no tokens are balanced, and more tokens balance better") {
  const RouterShape v3{.experts = 256, .top_k = 8, .groups = 8, .top_groups = 4};
  const GroupCounts counts = sample_groups(v3);
  CHECK(expected_max_over_mean(v3, 1, 4096, counts) == 1);
  CHECK(expected_max_over_mean(v3, 64, 0, counts) == 1);
  double before = 1e9;
  for (double tokens = 64; tokens <= 65536; tokens *= 4) {
    const double now = expected_max_over_mean(v3, 64, tokens, counts);
    CHECK(now < before);
    CHECK(now > 1);
    before = now;
  }
  // V3's own shape: balanced routing costs 1.4 %, the trace's spread a sixth.
  CHECK(expected_max_over_mean(v3, 64, 4096, counts) == Approx(1.014).margin(0.004));
  CHECK(expected_max_over_mean(v3, 64, 4096, counts, kTraceExpertSpread) ==
        Approx(1.18).margin(0.02));
}

TEST_CASE("load: the group's counts vary less than copies drawn one by one, and sum to top_k") {
  const RouterShape open{.experts = 64, .top_k = 8};
  const GroupCounts counts = sample_groups(open);
  // A rank that holds everything always gets top_k copies.
  CHECK(copies_variance(open, 1, counts) == Approx(0).margin(1e-12));
  CHECK(copies_variance(open, 8, counts) < 8 * (1.0 / 8) * (7.0 / 8));
  const RouterShape limited{.experts = 64, .top_k = 8, .groups = 8, .top_groups = 4};
  CHECK(copies_variance(limited, 1, sample_groups(limited)) == Approx(0).margin(1e-12));
}

}  // namespace
}  // namespace narrows

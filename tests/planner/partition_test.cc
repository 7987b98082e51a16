// SPDX-License-Identifier: Apache-2.0
#include "planner/partition.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "base/random.h"

using namespace narrows;

namespace {

std::vector<Tick> random_work(Random& random, int items) {
  std::vector<Tick> work;
  for (int i = 0; i < items; ++i) work.push_back({random.between(1, 50)});
  return work;
}

Tick run(const std::vector<Tick>& work, const Cuts& cuts, int stage) {
  Tick sum;
  for (int i = stage == 0 ? 0 : cuts[static_cast<std::size_t>(stage - 1)] + 1;
       i <= cuts[static_cast<std::size_t>(stage)]; ++i) {
    sum += work[static_cast<std::size_t>(i)];
  }
  return sum;
}

Tick plain(const std::vector<Tick>& work, const Cuts& cuts) {
  Tick worst;
  for (int s = 0; s < static_cast<int>(cuts.size()); ++s)
    worst = std::max(worst, run(work, cuts, s));
  return worst;
}

Tick folded(const std::vector<Tick>& work, const Cuts& cuts) {
  const int stages = static_cast<int>(cuts.size());
  Tick worst;
  for (int s = 0; s < stages / 2; ++s)
    worst = std::max(worst, run(work, cuts, s) + run(work, cuts, stages - 1 - s));
  return worst;
}

// All ways to cut, brute force.
Tick best_of_all(const std::vector<Tick>& work, int stages,
                 const std::function<Tick(const Cuts&)>& value) {
  const int items = static_cast<int>(work.size());
  Tick best{INT64_MAX};
  Cuts cuts;
  const std::function<void(int)> choose = [&](int from) {
    if (static_cast<int>(cuts.size()) == stages - 1) {
      cuts.push_back(items - 1);
      best = std::min(best, value(cuts));
      cuts.pop_back();
      return;
    }
    for (int last = from; last < items - 1; ++last) {
      cuts.push_back(last);
      choose(last + 1);
      cuts.pop_back();
    }
  };
  choose(0);
  return best;
}

bool covers(const Cuts& cuts, int items) {
  int before = -1;
  for (const int last : cuts) {
    if (last <= before) return false;
    before = last;
  }
  return before == items - 1;
}

}  // namespace

TEST_CASE("partition: bisection, shortest path and brute force agree on random items") {
  Random random(1);
  for (int trial = 0; trial < 400; ++trial) {
    const int items = static_cast<int>(random.between(1, 11));
    const int stages = static_cast<int>(random.between(1, items));
    const std::vector<Tick> work = random_work(random, items);
    const Tick best = best_of_all(work, stages, [&](const Cuts& c) { return plain(work, c); });
    const Cuts cuts = min_max_partition(work, stages);
    CHECK(covers(cuts, items));
    CHECK(smallest_bottleneck(work, stages) == best);
    CHECK(plain(work, cuts) == best);
    CHECK(bottleneck_by_shortest_path(work, stages) == best);
  }
}

TEST_CASE("partition: the folded shortest path equals brute force on random items") {
  Random random(2);
  for (int trial = 0; trial < 300; ++trial) {
    const int stages = 2 * static_cast<int>(random.between(1, 3));
    const int items = static_cast<int>(random.between(stages, 11));
    const std::vector<Tick> work = random_work(random, items);
    const Cuts cuts = folded_partition(work, stages);
    CHECK(covers(cuts, items));
    CHECK(folded(work, cuts) ==
          best_of_all(work, stages, [&](const Cuts& c) { return folded(work, c); }));
  }
}

TEST_CASE("partition: 61 equal layers between light ends fall evenly on 16 stages") {
  std::vector<Tick> work(63, Tick{10});
  work.front() = Tick{1};
  work.back() = Tick{15};
  CHECK(smallest_bottleneck(work, 16) == Tick{40});
  CHECK(min_max_partition(work, 16).size() == 16);
}

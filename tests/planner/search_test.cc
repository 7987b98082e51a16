// The search against brute force: every strategy of the space simulated.
// SPDX-License-Identifier: Apache-2.0
#include "planner/search.h"

#include <algorithm>
#include <cstdlib>

#include "planner/problems.h"

namespace narrows {
namespace {

struct Truth {
  std::optional<Tick> best;  // of those that fit
  std::int64_t fits = 0;
  Bytes least;  // memory of the least demanding
};

// Simulates all; checks on the way that no bound is above its simulation and that memory is judged
// exactly.
Truth brute_force(const Problem& problem, const std::vector<Strategy>& strategies) {
  const Job job = problem.job();
  const GroupCounts counts = routed_groups(problem.model);
  LeafEvaluator judge(job, problem.kernels, counts), player(job, problem.kernels, counts);
  Truth truth;
  bool first = true;
  for (const Strategy& s : strategies) {
    const LeafEvaluator::Verdict verdict = judge.judge(s);
    const Candidate played = player.simulate(s);
    const Tick full = verdict.fits ? judge.full_bound(s, verdict.bound) : Tick{};
    const bool sound = verdict.bound <= played.prediction.makespan &&
                       full <= played.prediction.step && verdict.memory == memory_of(played);
    if (!sound) {
      CAPTURE(problem.software.name, to_string(pins_of(s)));
      CHECK(verdict.bound.ns <= played.prediction.makespan.ns);
      CHECK(full.ns <= played.prediction.step.ns);
      CHECK(verdict.memory / byte == memory_of(played) / byte);
    }
    // The cheap refusal refuses nothing that fits.
    CHECK(judge.least_memory(s) <= memory_of(played));
    truth.least = first ? memory_of(played) : min(truth.least, memory_of(played));
    first = false;
    if (memory_of(played) > problem.cluster.chip.memory_reported.value) continue;
    ++truth.fits;
    if (!truth.best || played.prediction.step < *truth.best) truth.best = played.prediction.step;
  }
  return truth;
}

std::string words(const SearchResult& result) {
  std::string text = std::to_string(result.space) + " " + std::to_string(result.feasible) + " " +
                     std::to_string(result.simulated) + " " + std::to_string(result.lower_bound.ns);
  for (const Candidate& c : result.best) {
    text += "\n" + to_string(pins_of(c.strategy)) + " " + std::to_string(c.prediction.step.ns) +
            " " + std::to_string(c.bound.ns);
  }
  return text;
}

// 150, or as many as the environment asks for (the preset ci: thousands).
std::uint64_t problems() {
  const char* asked = std::getenv("NARROWS_SEARCH_PROBLEMS");
  return asked != nullptr ? std::strtoull(asked, nullptr, 10) : 150;
}

}  // namespace

TEST_CASE("search: finds what brute force finds, and proves it") {
  std::int64_t played = 0, feasible = 0, infeasible = 0;
  for (std::uint64_t seed = 0; seed < problems(); ++seed) {
    Random random(seed);
    const Problem problem = random_problem(random);
    const std::vector<Strategy> strategies = problem.strategies();
    if (strategies.empty() || strategies.size() > 1500) continue;
    CAPTURE(seed, problem.software.name, strategies.size());
    const Truth truth = brute_force(problem, strategies);
    played += static_cast<std::int64_t>(strategies.size());
    const SearchResult found = value_of(problem.search_with(1));
    CHECK(found.complete);
    CHECK(found.space == static_cast<std::int64_t>(strategies.size()));
    CHECK(found.evaluated == found.space);
    CHECK(found.feasible == truth.fits);
    CHECK(found.infeasible.has_value() == !truth.best.has_value());
    CHECK(found.best.empty() == !truth.best.has_value());
    if (truth.best && !found.best.empty()) {
      ++feasible;
      CHECK(found.best.front().prediction.step.ns == truth.best->ns);
      CHECK(found.gap == 0);
      CHECK(found.lower_bound.ns == truth.best->ns);
      CHECK(memory_of(found.best.front()) <= problem.cluster.chip.memory_reported.value);
      CHECK(std::is_sorted(found.best.begin(), found.best.end(),
                           [](const Candidate& a, const Candidate& b) {
                             return a.prediction.step < b.prediction.step;
                           }));
    }
    if (found.infeasible) {
      ++infeasible;
      CHECK(total(found.infeasible->needed) / byte == truth.least / byte);
      CHECK(found.infeasible->available == problem.cluster.chip.memory_reported.value);
    }
  }
  WARN(played << " strategies simulated; " << feasible << " problems with a plan, " << infeasible
              << " without");
  CHECK(played > 10000);
  CHECK(feasible > 50);
  CHECK(infeasible > 3);
}

TEST_CASE("search: alternatives differ in layout or schedule, and each is what it says") {
  for (std::uint64_t seed = 200; seed < 215; ++seed) {
    Random random(seed);
    const Problem problem = random_problem(random, 20);
    if (problem.strategies().empty()) continue;
    const SearchResult found = value_of(problem.search_with(1));
    const GroupCounts counts = routed_groups(problem.model);
    const Job job = problem.job();
    LeafEvaluator leaf(job, problem.kernels, counts);
    for (std::size_t i = 0; i < found.best.size(); ++i) {
      const Candidate& c = found.best[i];
      CAPTURE(seed, to_string(pins_of(c.strategy)));
      CHECK(leaf.simulate(c.strategy).prediction.step == c.prediction.step);
      CHECK(c.bound <= c.prediction.step);
      for (std::size_t j = 0; j < i; ++j) {
        Strategy same = found.best[j].strategy;
        same.precision = c.strategy.precision;
        same.recompute = c.strategy.recompute;
        same.micro_batch = c.strategy.micro_batch;
        same.micro_batches = c.strategy.micro_batches;
        same.zero = c.strategy.zero;
        CHECK_FALSE(same == c.strategy);
      }
    }
  }
}

TEST_CASE("search: told to stop it says what it knows") {
  Random random(4);
  const Problem problem = random_problem(random, 20);
  std::atomic<bool> stop{true};
  SearchOptions options;
  options.threads = 1;
  options.stop = &stop;
  const SearchResult found = value_of(search(problem.job(), problem.kernels, options));
  CHECK_FALSE(found.complete);
  CHECK(found.evaluated < found.space);
  CHECK(found.best.empty());
  CHECK(found.lower_bound == Tick{});
}

TEST_CASE("search: more memory never makes a slower step") {
  for (std::uint64_t seed = 300; seed < 320; ++seed) {
    std::optional<Tick> before;
    for (const double memory : {0.4, 0.8, 1.6, 4.0, 80.0}) {
      Random random(seed);
      const Problem problem = random_problem(random, memory);
      if (problem.strategies().empty()) break;
      const SearchResult found = value_of(problem.search_with(1));
      CAPTURE(seed, memory);
      if (before) {
        REQUIRE_FALSE(found.best.empty());
        CHECK(found.best.front().prediction.step <= *before);
      }
      if (!found.best.empty()) before = found.best.front().prediction.step;
    }
  }
}

TEST_CASE("search: one thread and more give the same bytes") {
  for (std::uint64_t seed = 400; seed < 420; ++seed) {
    Random random(seed);
    const Problem problem = random_problem(random);
    if (problem.strategies().empty()) continue;
    const std::string one = words(value_of(problem.search_with(1)));
    CAPTURE(seed);
    CHECK(words(value_of(problem.search_with(2))) == one);
    CHECK(words(value_of(problem.search_with(5))) == one);
  }
}

TEST_CASE("search: pins only restrict") {
  Random pinning(9);
  int pinned = 0;
  for (std::uint64_t seed = 500; seed < 520; ++seed) {
    Random random(seed);
    const Problem problem = random_problem(random, 40);
    const std::vector<Strategy> strategies = problem.strategies();
    if (strategies.empty()) continue;
    const SearchResult free = value_of(problem.search_with(1));
    REQUIRE_FALSE(free.best.empty());
    for (int round = 0; round < 4; ++round) {
      const Strategy& s = strategies[pinning.below(strategies.size())];
      Pins pins = problem.pins;
      if (pinning.below(2) == 0) pins.pp = s.pp;
      if (pinning.below(2) == 0) pins.tp = s.tp;
      if (pinning.below(2) == 0) pins.schedule = s.schedule;
      if (pinning.below(2) == 0) pins.zero = s.zero;
      if (pinning.below(3) == 0) pins = pins_of(s);
      const Problem narrow(problem.model, problem.cluster, problem.software, problem.training,
                           pins);
      const SearchResult found = value_of(narrow.search_with(1));
      CAPTURE(seed, to_string(pins));
      REQUIRE_FALSE(found.best.empty());
      CHECK(found.space <= free.space);
      CHECK(found.best.front().prediction.step >= free.best.front().prediction.step);
      for (const Candidate& c : found.best) CHECK(agrees(c.strategy, pins));
      ++pinned;
    }
  }
  CHECK(pinned > 50);
}

TEST_CASE("search: a fresh evaluator for each strategy gives the same step") {
  Random random(602);
  const Problem problem = random_problem(random, 40);
  const GroupCounts counts = routed_groups(problem.model);
  const Job job = problem.job();
  LeafEvaluator shared(job, problem.kernels, counts);
  for (const Strategy& s : problem.strategies()) {
    LeafEvaluator fresh(job, problem.kernels, counts);
    const Candidate a = shared.simulate(s), b = fresh.simulate(s);
    if (a.prediction.step != b.prediction.step || memory_of(a) != memory_of(b))
      FAIL_CHECK(to_string(pins_of(s)));
  }
}

TEST_CASE("search: pins that allow nothing are refused in words") {
  Random random(1);
  const Problem some = random_problem(random);
  Pins pins;
  pins.tp = 3;
  const Problem none(some.model, some.cluster, some.software, some.training, pins);
  const Result<SearchResult> result = none.search_with(1);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::InvalidInput);
  CHECK(result.error().message.find("tp=3") != std::string::npos);
}

}  // namespace narrows

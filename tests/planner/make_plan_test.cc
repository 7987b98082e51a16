// SPDX-License-Identifier: Apache-2.0
#include "planner/make_plan.h"

#include "plan/validate.h"
#include "planner/problems.h"

namespace narrows {
namespace {

Bytes parts_of(const RankMemory& m) {
  return m.parameters + m.gradients + m.optimizer + m.kept + m.transient + m.comm_buffers +
         m.context + m.allocator;
}

}  // namespace

TEST_CASE("plan: what the search finds is a valid plan whose parts add up") {
  int plans = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed + 4000);
    const Problem problem = random_problem(random, 20);
    if (problem.strategies().empty()) continue;
    const Job job = problem.job();
    const SearchResult found = value_of(problem.search_with(1));
    REQUIRE_FALSE(found.best.empty());
    for (const Candidate& candidate : found.best) {
      const Plan plan = plan_of(job, candidate, {});
      CAPTURE(seed, to_string(pins_of(plan.strategy)));
      const Status valid =
          validate(plan.strategy, plan.model, plan.cluster, plan.training, plan.software);
      if (!valid) FAIL_CHECK(valid.error().message);
      REQUIRE(plan.forecast);
      const Forecast& f = *plan.forecast;
      Seconds sum;
      for (const auto& [name, time] : f.breakdown) {
        CHECK(time >= Seconds());
        sum += time;
      }
      CHECK(sum / ns == Approx(f.step / ns).epsilon(1e-12));
      Bytes fullest;
      for (const RankMemory& rank : f.memory) {
        CHECK(total(rank) / byte == Approx(parts_of(rank) / byte).epsilon(1e-12));
        fullest = max(fullest, total(rank));
      }
      CHECK(f.memory.size() == static_cast<std::size_t>(plan.strategy.pp));
      CHECK(f.memory_peak == fullest);
      CHECK(f.memory_peak <= f.memory_capacity);
      CHECK(f.step_low <= f.step);
      CHECK(f.step <= f.step_high);
      CHECK(f.basis.measured + f.basis.interpolated + f.basis.transferred + f.basis.roofline ==
            Approx(1));
      const double tokens = 512.0 * static_cast<double>(problem.training.global_batch);
      CHECK(f.tokens_per_second_per_gpu * problem.cluster.gpus * (f.step / sec) == Approx(tokens));
      CHECK(f.mfu < 1);
      CHECK(f.mfu > 0);
      ++plans;
    }
  }
  CHECK(plans > 60);
}

TEST_CASE("plan: a written plan reads back the same and plays the same") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Random random(seed + 4100);
    const Problem problem = random_problem(random, 20);
    if (problem.strategies().empty()) continue;
    const Job job = problem.job();
    const SearchResult found = value_of(problem.search_with(1));
    REQUIRE_FALSE(found.best.empty());
    const Plan plan = plan_of(job, found.best.front(), {});
    const Plan again = value_of(plan_from_json(to_json(plan), "plan.json"));
    CHECK(again.strategy == plan.strategy);
    CHECK(again.forecast == plan.forecast);
    StageRuns runs;
    for (const Candidate& candidate : {found.best.front()}) runs = candidate.runs;
    const GroupCounts counts = routed_groups(again.model);
    const Job second{again.model, again.cluster, again.software, again.training, {}};
    LeafEvaluator leaf(second, problem.kernels, counts);
    CHECK(leaf.simulate_with(again.strategy, runs).prediction.step ==
          found.best.front().prediction.step);
  }
}

TEST_CASE("plan: DeepSeek's stack is counted DeepSeek's way") {
  CHECK(default_convention(value_of(find_software("hai-llm"))) == FlopsConvention::DeepSeek);
  CHECK(default_convention(value_of(find_software("megatron-core"))) == FlopsConvention::Megatron);
}

TEST_CASE("plan: a training costs its steps") {
  Random random(4200);
  const Problem some = random_problem(random, 20);
  Training training = some.training;
  training.tokens = 512 * training.global_batch * 1000;
  const Problem problem(some.model, some.cluster, some.software, training, some.pins);
  const Job job = problem.job();
  const SearchResult found = value_of(problem.search_with(1));
  REQUIRE_FALSE(found.best.empty());
  const Forecast f = forecast_of(job, found.best.front(), {.price = 2 * usd / hour});
  REQUIRE(f.gpu_hours);
  CHECK(*f.gpu_hours == Approx(1000 * (f.step / hour) * problem.cluster.gpus));
  CHECK(*f.days * 24 * problem.cluster.gpus == Approx(*f.gpu_hours));
  REQUIRE(f.cost_usd);
  CHECK(*f.cost_usd == Approx(2 * *f.gpu_hours));
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "planner/leaf.h"

#include <algorithm>

#include "plan/validate.h"
#include "planner/problems.h"
#include "schedule/library.h"

namespace narrows {
namespace {

// DeepSeek-V3 as it was trained, without DualPipe's 2,048 GPUs' worth of wait: the job alone.
Problem v3_problem(int gpus, std::int64_t batch) {
  return Problem(builtin("deepseek-v3"), cluster_named("h800:" + std::to_string(gpus)),
                 value_of(find_software("hai-llm")), {.sequence = 4096, .global_batch = batch}, {});
}

}  // namespace

TEST_CASE("leaf: runs cover all items in order, one run a stage") {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed + 3000);
    const Problem problem = random_problem(random);
    const GroupCounts counts = routed_groups(problem.model);
    const Job job = problem.job();
    LeafEvaluator leaf(job, problem.kernels, counts);
    const int items = static_cast<int>(classes_of(problem.model).size());
    const std::vector<Strategy> strategies = problem.strategies();
    for (int round = 0; round < 10 && !strategies.empty(); ++round) {
      const Strategy& s = strategies[random.below(strategies.size())];
      const Candidate candidate = leaf.simulate(s);
      CAPTURE(seed, to_string(pins_of(s)));
      REQUIRE(static_cast<int>(candidate.runs.size()) == stages_of(s));
      int next = 0;
      for (const StepCost::Run& run : candidate.runs) {
        CHECK(run.first == next);
        CHECK(run.last >= run.first);
        next = run.last + 1;
      }
      CHECK(next == items);
      CHECK(candidate.strategy == s);
    }
  }
}

TEST_CASE("leaf: the order of questions does not change answers") {
  Random random(3100);
  const Problem problem = random_problem(random);
  const GroupCounts counts = routed_groups(problem.model);
  const Job job = problem.job();
  std::vector<Strategy> strategies = problem.strategies();
  REQUIRE(strategies.size() > 10);
  LeafEvaluator up(job, problem.kernels, counts), down(job, problem.kernels, counts);
  std::vector<LeafEvaluator::Verdict> first, second;
  for (const Strategy& s : strategies) first.push_back(up.judge(s));
  std::reverse(strategies.begin(), strategies.end());
  for (const Strategy& s : strategies) second.push_back(down.judge(s));
  std::reverse(second.begin(), second.end());
  bool same = true;
  for (std::size_t i = 0; i < first.size(); ++i) {
    same = same && first[i].bound == second[i].bound && first[i].memory == second[i].memory &&
           first[i].fullest_rank == second[i].fullest_rank;
  }
  CHECK(same);
}

TEST_CASE("leaf: given its own runs a plan plays as the partition's") {
  Random random(3200);
  const Problem problem = random_problem(random);
  const GroupCounts counts = routed_groups(problem.model);
  const Job job = problem.job();
  LeafEvaluator leaf(job, problem.kernels, counts);
  for (const Strategy& s : problem.strategies()) {
    const Candidate a = leaf.simulate(s);
    const Candidate b = leaf.simulate_with(s, a.runs);
    REQUIRE(a.prediction.step == b.prediction.step);
    REQUIRE(a.prediction.memory == b.prediction.memory);
  }
}

TEST_CASE("leaf: V3's own strategy is judged as it is played") {
  const Problem problem = v3_problem(2048, 15360);
  const Strategy s = v3_strategy();
  REQUIRE_FALSE(broken_rule(s, problem.space().limits));
  const GroupCounts counts = routed_groups(problem.model);
  const Job job = problem.job();
  LeafEvaluator leaf(job, problem.kernels, counts);
  const LeafEvaluator::Verdict verdict = leaf.judge(s);
  const Candidate played = leaf.simulate(s);
  CHECK(verdict.memory / byte == memory_of(played) / byte);
  CHECK(verdict.bound <= played.prediction.makespan);
  CHECK(leaf.full_bound(s, verdict.bound) <= played.prediction.step);
  WARN("V3 on 2048 H800: step " << to_seconds(played.prediction.step) / sec
                                << " s (published 19.926), bound "
                                << to_seconds(leaf.full_bound(s, verdict.bound)) / sec
                                << " s, fullest rank " << played.prediction.fullest_rank << " at "
                                << verdict.memory / GB << " GB of 84.9");
}

TEST_CASE("leaf: more data parallelism leaves the pipeline as it is") {
  // Twice the replicas and twice the batch: the same schedule over the same chunks.
  std::optional<Tick> makespan;
  for (const int gpus : {1024, 2048}) {
    Problem problem = v3_problem(gpus, 7680 * gpus / 1024);
    problem.cluster.chip.spread.reset();  // of more chips the slowest is slower
    Strategy s = v3_strategy();
    s.dp = s.dp_shard = gpus / 16;
    const GroupCounts counts = routed_groups(problem.model);
    const Job job = problem.job();
    LeafEvaluator leaf(job, problem.kernels, counts);
    const Candidate played = leaf.simulate(s);
    if (makespan) CHECK(played.prediction.makespan == *makespan);
    makespan = played.prediction.makespan;
  }
}

}  // namespace narrows

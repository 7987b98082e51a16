// SPDX-License-Identifier: Apache-2.0
#include "runtime/strands.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>

#include "runtime/small_plans.h"
#include "runtime/world.h"

namespace narrows {

TEST_CASE("strands: turns pass where they are given, and what is left runs to its end") {
  int adopted = 0;
  Strands strands([&] { ++adopted; });
  std::string order;
  const auto piece = [&](char letter, int turns) {
    return [&order, &strands, letter, turns] {
      for (int i = 0; i < turns; ++i) {
        order += letter;
        strands.yield();
      }
    };
  };
  strands.run(piece('a', 3), piece('b', 3));
  CHECK(order == "ababab");
  order.clear();
  strands.run(piece('a', 1), piece('b', 4));
  CHECK(order == "abbbb");
  order.clear();
  strands.run(piece('a', 4), piece('b', 0));
  CHECK(order == "aaaa");
  CHECK(adopted == 1);
  strands.yield();  // outside: nothing
  CHECK_FALSE(strands.is_running());
}

TEST_CASE("strands: one piece at a time") {
  Strands strands([] {});
  std::atomic<int> inside = 0;
  bool alone = true;
  const auto work = [&] {
    for (int i = 0; i < 100; ++i) {
      alone = alone && ++inside == 1;
      --inside;
      strands.yield();
    }
  };
  for (int i = 0; i < 20; ++i) strands.run(work, work);
  CHECK(alone);
}

namespace {

Plan dual_pipe_over_experts() {
  Strategy s;
  s.pp = 2;
  s.dp = 2;
  s.ep = 2;
  s.micro_batches = 6;
  s.schedule = ScheduleKind::DualPipe;
  ModelSpec model = testing::small_mla();
  model.layers = 4;  // two a stage, all of experts
  model.moe->dense_layers = 0;
  return testing::small_plan(model, s, 16, 12);
}

struct Run {
  std::vector<double> loss;
  Timeline timeline;  // of rank 0
};

Run run_dual_pipe(bool overlapped) {
  const Plan plan = dual_pipe_over_experts();
  Run run;
  std::mutex mutex;
  const WorldEnd end = run_world({.ranks = 4}, [&](Communicator& world) -> Status {
    const std::unique_ptr<Backend> backend = make_cpu_backend(1);
    const std::unique_ptr<Trainer> trainer = TRY(Trainer::make(plan, *backend, &world));
    trainer->initialise(1);
    if (!overlapped) trainer->rank().strands = nullptr;
    if (world.rank() == 0) trainer->executor().record(&run.timeline);
    const ReadTokens read = [&](std::int64_t step, std::int64_t row, std::span<std::int32_t> out) {
      fill(PortableRow{.seed = 1, .step = step, .row = row, .alphabet = plan.model.vocab}, out);
      return Status();
    };
    for (int step = 0; step < 3; ++step) {
      const StepMetrics metrics = TRY(trainer->step(step, read, {}));
      if (world.rank() == 0) run.loss.push_back(metrics.loss);
    }
    return {};
  });
  REQUIRE(end.status);
  return run;
}

// Of each pair whose turn it is, op by op, forward or backward: "fbfb…".
std::vector<std::string> turns_in_pairs(const Timeline& t) {
  std::vector<std::string> all;
  for (const TimeSpan& span : t.spans) {
    if (span.name.find('&') == std::string::npos) continue;
    std::string turns;
    for (const OpSpan& op : t.ops) {
      const OpLabel& label = t.op_labels[static_cast<std::size_t>(op.label)];
      if (label.block.empty() || op.start < span.start || op.end > span.end) continue;
      const char half = label.direction == "F" ? 'f' : 'b';
      if (turns.empty() || turns.back() != half) turns += half;
    }
    all.push_back(turns);
  }
  return all;
}

}  // namespace

TEST_CASE("pairs: where experts are spread their halves take turns at every exchange") {
  const Run one_by_one = run_dual_pipe(false);
  const Run overlapped = run_dual_pipe(true);
  const std::vector<std::string> plain = turns_in_pairs(one_by_one.timeline);
  const std::vector<std::string> mixed = turns_in_pairs(overlapped.timeline);
  REQUIRE(!plain.empty());
  REQUIRE(plain.size() == mixed.size());
  for (const std::string& turns : plain) CHECK(turns == "fb");
  for (const std::string& turns : mixed) {
    INFO(turns);
    CHECK(turns.starts_with("fbfbf"));
  }
}

TEST_CASE("pairs: taking turns changes no byte of the losses") {
  CHECK(run_dual_pipe(true).loss == run_dual_pipe(false).loss);
}

}  // namespace narrows

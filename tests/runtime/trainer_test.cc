// What a trainer measures and refuses, and training in bf16.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "runtime/small_plans.h"
#include "schedule/library.h"
#include "schedule/text.h"

namespace narrows {
namespace {

Strategy one_rank(Recipe precision) {
  Strategy s;
  s.precision = precision;
  s.micro_batch = 2;
  s.micro_batches = 2;
  return s;
}

}  // namespace

TEST_CASE("trainer: bf16 multiplies what f32 does, to two digits") {
  const testing::Trained wide =
      testing::train(testing::small_plan(testing::small_gqa(), one_rank(Recipe::F32), 16, 4));
  const testing::Trained narrow =
      testing::train(testing::small_plan(testing::small_gqa(), one_rank(Recipe::Bf16), 16, 4));
  REQUIRE(narrow.error == "");
  CHECK(narrow.loss[0] == Approx(wide.loss[0]).epsilon(1e-3));
  CHECK(narrow.loss[0] != wide.loss[0]);
  const testing::Difference worst = testing::difference(narrow, wide);
  INFO(worst.tensor);
  CHECK(worst.relative < 0.03);
}

TEST_CASE("trainer: bf16 layouts agree with one rank to the rounding of their operands") {
  const testing::Trained alone =
      testing::train(testing::small_plan(testing::small_gqa(), one_rank(Recipe::Bf16), 16, 4));
  Strategy s = one_rank(Recipe::Bf16);
  s.tp = 2;
  s.pp = 2;
  const testing::Trained mine = testing::train(testing::small_plan(testing::small_gqa(), s, 16, 4));
  REQUIRE(mine.error == "");
  CHECK(testing::difference(mine, alone).relative < 0.01);
}

TEST_CASE("trainer: two threads give the bytes of one") {
  const Plan plan = testing::small_plan(testing::small_mla(), one_rank(Recipe::F32), 16, 4);
  const testing::Trained one = testing::train(plan, {.steps = 2});
  const testing::Trained two = testing::train(plan, {.steps = 2, .threads = 2});
  CHECK(one.loss == two.loss);
  CHECK(one.grad_norm == two.grad_norm);
  CHECK(testing::difference(one, two).relative == 0);
}

TEST_CASE("trainer: ops lie inside their instructions, each as often as the graph has it") {
  const Plan plan = testing::small_plan(testing::small_mla(), one_rank(Recipe::F32), 16, 4);
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  const Result<std::unique_ptr<Trainer>> trainer = Trainer::make(plan, *backend, nullptr);
  REQUIRE(trainer);
  (*trainer)->initialise(1);
  Timeline timeline;
  (*trainer)->executor().record(&timeline);
  const ReadTokens read = [](std::int64_t, std::int64_t, std::span<std::int32_t> tokens) {
    std::fill(tokens.begin(), tokens.end(), 7);
    return Status();
  };
  REQUIRE((*trainer)->compute_gradients(0, read));
  std::map<std::string, int> runs;
  for (const OpSpan& op : timeline.ops) {
    const OpLabel& label = timeline.op_labels[static_cast<std::size_t>(op.label)];
    ++runs[label.name + " " + label.direction];
    if (label.block.empty()) continue;
    const auto holds = [&](const TimeSpan& s) { return s.start <= op.start && op.end <= s.end; };
    INFO(label.name);
    CHECK(std::any_of(timeline.spans.begin(), timeline.spans.end(), holds));
    if (label.name == "q_b") {
      CHECK(op.rows == 32);  // two sequences of 16
      CHECK(label.shape == "48x24");
      CHECK(label.format == "f32");
      CHECK(label.flops_a_row == 2.0 * 48 * 24);
    }
  }
  // Three layers, two micro-batches.
  CHECK(runs["q_b F"] == 6);
  CHECK(runs["q_b I"] == 6);
  CHECK(runs["q_b W"] == 6);
  CHECK(runs["q_b R"] == 0);
  CHECK(runs["head W"] == 2);
  CHECK(runs["read tokens "] == 2);
  // The sums that are always kept are those of the spans.
  CHECK((*trainer)->log().totals() == op_totals(timeline));
}

TEST_CASE("trainer: what is run again is told apart") {
  Strategy s = one_rank(Recipe::F32);
  s.recompute = Recompute::V3;
  const Plan plan = testing::small_plan(testing::small_mla(), s, 16, 4);
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  const Result<std::unique_ptr<Trainer>> trainer = Trainer::make(plan, *backend, nullptr);
  REQUIRE(trainer);
  (*trainer)->initialise(1);
  const ReadTokens read = [](std::int64_t, std::int64_t, std::span<std::int32_t> tokens) {
    std::fill(tokens.begin(), tokens.end(), 7);
    return Status();
  };
  REQUIRE((*trainer)->compute_gradients(0, read));
  std::map<std::string, std::int64_t> runs;
  for (const OpTotal& total : (*trainer)->log().totals()) {
    runs[total.label.name + " " + total.label.direction] = total.runs;
  }
  CHECK(runs["q_b R"] == 6);
  CHECK(runs["q_a R"] == 0);
}

TEST_CASE("trainer: the timeline has every instruction of the schedule, in order") {
  Strategy s = one_rank(Recipe::F32);
  const Plan plan = testing::small_plan(testing::small_mla(), s, 16, 4);
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  const Result<std::unique_ptr<Trainer>> trainer = Trainer::make(plan, *backend, nullptr);
  REQUIRE(trainer);
  Timeline timeline;
  (*trainer)->executor().record(&timeline);
  const ReadTokens read = [](std::int64_t, std::int64_t, std::span<std::int32_t> tokens) {
    std::fill(tokens.begin(), tokens.end(), 7);
    return Status();
  };
  REQUIRE((*trainer)->compute_gradients(0, read));
  const Result<Schedule> schedule = make_schedule(ScheduleKind::OneFOneB, 1, 1, 2);
  REQUIRE(schedule);
  const Program& program = schedule->programs.front();
  REQUIRE(timeline.spans.size() == program.size());
  for (std::size_t i = 0; i < program.size(); ++i) {
    CHECK(timeline.spans[i].name == to_text(program[i]));
    CHECK(timeline.spans[i].start < timeline.spans[i].end);
    if (i > 0) CHECK(timeline.spans[i].start >= timeline.spans[i - 1].end);
  }
  // After the last backward nothing is kept.
  CHECK(timeline.memory.back().bytes == Bytes());
  CHECK(timeline.memory.front().bytes > Bytes());
}

TEST_CASE("trainer: the more is recomputed, the less is kept; in full, a layer keeps its input") {
  const auto kept_after_forward = [](Recompute recompute) {
    Strategy s = one_rank(Recipe::F32);
    s.pp = 2;
    s.recompute = recompute;
    Plan plan = testing::small_plan(testing::small_mla(), s, 16, 4);
    // One rank's half: embedding and two layers, whose output goes nowhere.
    plan.strategy.pp = 1;
    plan.stages.resize(1);
    plan.stages[0].chunks = {{0, 2, recompute}};
    StoragePool pool;
    const std::unique_ptr<Backend> backend = make_cpu_backend(1);
    Result<RankContext> rank = make_rank_context(plan, *backend, pool, nullptr);
    REQUIRE(rank);
    ChunkPass pass(*rank, plan.stages[0].chunks[0]);
    std::vector<Block*> blocks;
    for (Block& block : pass.blocks()) blocks.push_back(&block);
    Buckets buckets(*rank, blocks);
    ChunkRun run;
    run.batch.tokens.assign(32, 1);
    run.batch.targets.assign(32, 1);
    for (int i = 0; i < 32; ++i) run.batch.positions.push_back(i % 16);
    REQUIRE(pass.forward(run, {}, buckets));
    return pool.out() / byte;
  };
  const double none = kept_after_forward(Recompute::None);
  const double selective = kept_after_forward(Recompute::Selective);
  const double v3 = kept_after_forward(Recompute::V3);
  CHECK(selective < none);
  CHECK(v3 < selective);
  CHECK(kept_after_forward(Recompute::Full) == 2 * 32 * 32 * 4);
}

TEST_CASE("trainer: what it cannot train is refused by name") {
  const auto refusal = [](const Plan& plan) {
    const std::unique_ptr<Backend> backend = make_cpu_backend(1);
    const Result<std::unique_ptr<Trainer>> trainer = Trainer::make(plan, *backend, nullptr);
    REQUIRE(!trainer);
    CHECK(trainer.error().code == ErrorCode::Unsupported);
    return trainer.error().message;
  };
  ModelSpec model = testing::small_mla();
  model.mtp_layers = 2;
  CHECK(refusal(testing::small_plan(model, one_rank(Recipe::F32), 16, 4)) ==
        "small-mla: the runtime does not train more than one depth of multi-token prediction yet");
  CHECK(refusal(testing::small_plan(testing::small_mla(), one_rank(Recipe::Mxfp8), 16, 4)) ==
        "precision=mxfp8: expected f32, bf16 or fp8-block, the recipes that the runtime multiplies "
        "in");
  Plan spread = testing::small_plan(testing::small_mla(), one_rank(Recipe::F32), 16, 4);
  spread.strategy.cp = 8;
  spread.comm.cp = "all-to-all";
  CHECK(refusal(spread) ==
        "cp by all-to-all: expected heads and KV heads of a rank that are divisible by cp=8");
}

TEST_CASE("optimizer: warm-up rises in steps, cosine ends at a tenth") {
  const OptimizerOptions options{
      .learning_rate = 1, .warmup = 4, .schedule = RateSchedule::Cosine, .steps = 14};
  CHECK(learning_rate(options, 0) == 0.25);
  CHECK(learning_rate(options, 3) == 1);
  CHECK(learning_rate(options, 9) == Approx(0.55));
  CHECK(learning_rate(options, 14) == Approx(0.1));
}

}  // namespace narrows

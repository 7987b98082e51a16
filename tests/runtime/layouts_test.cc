// Every axis by itself: the gradients of a layout are those of one rank.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "runtime/small_plans.h"

namespace narrows {
namespace {

constexpr std::int64_t kSequence = 16;
constexpr std::int64_t kBatch = 8;

Strategy f32() {
  Strategy s;
  s.precision = Recipe::F32;
  s.micro_batch = 1;
  s.micro_batches = kBatch;
  return s;
}

const testing::Trained& one_rank(bool mla) {
  static const testing::Trained results[2] = {
      testing::train(testing::small_plan(testing::small_gqa(), f32(), kSequence, kBatch),
                     {.steps = 2}),
      testing::train(testing::small_plan(testing::small_mla(), f32(), kSequence, kBatch),
                     {.steps = 2})};
  return results[mla ? 1 : 0];
}

void check_equal(Strategy s, bool mla = true, const CommChoice& comm = {}) {
  s.micro_batches = kBatch / s.dp / s.micro_batch;
  const ModelSpec model = mla ? testing::small_mla() : testing::small_gqa();
  Plan plan = testing::small_plan(model, s, kSequence, kBatch);
  plan.comm = comm;
  const testing::Trained mine = testing::train(plan, {.steps = 2});
  REQUIRE(mine.error == "");
  const testing::Difference worst = testing::difference(mine, one_rank(mla));
  INFO("worst tensor: " << worst.tensor);
  CHECK(worst.relative < 1e-5);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(mine.loss[i] == Approx(one_rank(mla).loss[i]).epsilon(1e-5));
    CHECK(mine.grad_norm[i] == Approx(one_rank(mla).grad_norm[i]).epsilon(1e-4));
  }
}

}  // namespace

TEST_CASE("layouts: micro-batches of several sequences") {
  Strategy s = f32();
  s.micro_batch = 4;
  check_equal(s);
}

TEST_CASE("layouts: every recompute policy") {
  for (const Recompute policy : all_recomputes()) {
    for (const bool mla : {true, false}) {
      if (policy == Recompute::V3 && !mla) continue;
      INFO(to_string(policy) << " " << mla);
      Strategy s = f32();
      s.recompute = policy;
      check_equal(s, mla);
    }
  }
}

TEST_CASE("layouts: data parallel, all ZeRO stages") {
  for (int zero = 0; zero <= 3; ++zero) {
    INFO("zero " << zero);
    Strategy s = f32();
    s.dp = 4;
    s.zero = zero;
    s.dp_shard = zero == 0 ? 1 : 4;
    check_equal(s);
    if (zero > 0) {
      s.dp_shard = 2;
      check_equal(s);
    }
  }
}

TEST_CASE("layouts: tensor parallel with and without sequence parallelism") {
  Strategy s = f32();
  s.tp = 2;
  check_equal(s, false);
  s.sequence_parallel = true;
  check_equal(s, false);
  check_equal(s, true);
  s.recompute = Recompute::Full;
  check_equal(s, true);
  s.recompute = Recompute::V3;
  check_equal(s, true);
}

TEST_CASE("layouts: expert parallel") {
  Strategy s = f32();
  s.dp = 4;
  s.ep = 4;
  check_equal(s, true, {.ep = "all-to-all"});
  check_equal(s, true, {.ep = "deepep"});
  check_equal(s, true, {.ep = "all-gather"});
  s.ep = 2;
  s.zero = 1;
  s.dp_shard = 4;
  check_equal(s);
}

TEST_CASE("layouts: experts split by tensor parallelism") {
  Strategy s = f32();
  s.dp = 4;
  s.ep = 2;
  s.etp = 2;
  check_equal(s);
  s.etp = 4;
  s.ep = 1;
  check_equal(s);
}

TEST_CASE("layouts: context parallel") {
  Strategy s = f32();
  s.cp = 4;
  check_equal(s, true);
  check_equal(s, false);
  s.cp = 2;
  s.ep = 2;
  s.recompute = Recompute::V3;
  check_equal(s, true);
}

TEST_CASE("layouts: context parallel by ring and by heads") {
  Strategy s = f32();
  for (const Recompute policy : {Recompute::None, Recompute::Full}) {
    s.recompute = policy;
    for (const char* exchange : {"ring", "all-to-all"}) {
      INFO(exchange << " " << to_string(policy));
      s.cp = 2;
      s.micro_batch = 2;
      check_equal(s, true, {.cp = exchange});
      check_equal(s, false, {.cp = exchange});
      s.cp = 4;
      s.micro_batch = 1;
      check_equal(s, true, {.cp = exchange});
    }
  }
  check_equal(s, false, {.cp = "ring"});
}

TEST_CASE("layouts: queries and keys normalised over all heads stay on one rank of a stage") {
  ModelSpec model = testing::small_gqa();
  model.attention.qk_norm = QkNorm::Full;
  const testing::Trained one = testing::train(testing::small_plan(model, f32(), kSequence, kBatch));
  Strategy s = f32();
  s.dp = s.dp_shard = s.cp = 2;
  s.zero = 3;
  s.micro_batches = kBatch / 2;
  const testing::Trained spread = testing::train(testing::small_plan(model, s, kSequence, kBatch));
  CHECK(testing::difference(spread, one).relative < 1e-5);
  s.tp = 2;
  CHECK_THAT(testing::train(testing::small_plan(model, s, kSequence, kBatch)).error,
             Catch::EndsWith("tp=2: expected 1, as " + model.name +
                             " normalises queries and keys over all heads"));
}

TEST_CASE("layouts: a window reaches over the ring") {
  ModelSpec model = testing::small_gqa();
  model.attention.window = 5;
  Strategy s = f32();
  const testing::Trained one = testing::train(testing::small_plan(model, s, kSequence, kBatch));
  for (const int cp : {2, 4}) {
    s.cp = cp;
    Plan plan = testing::small_plan(model, s, kSequence, kBatch);
    plan.comm.cp = "ring";
    CHECK(testing::difference(testing::train(plan), one).relative < 1e-5);
  }
}

TEST_CASE("layouts: pipelines under every schedule") {
  for (const ScheduleKind kind : all_schedules()) {
    INFO(to_string(kind));
    Strategy s = f32();
    s.pp = 2;
    s.schedule = kind;
    if (kind == ScheduleKind::Interleaved) s.vpp = 2;
    check_equal(s);
  }
}

TEST_CASE("layouts: products of axes") {
  Strategy s = f32();
  s.tp = 2;
  s.sequence_parallel = true;
  s.pp = 2;
  s.dp = 2;
  s.ep = 2;
  s.schedule = ScheduleKind::DualPipe;
  s.zero = 1;
  s.dp_shard = 2;
  check_equal(s);
  s.order = AxisOrder::TpCpPpDp;
  s.schedule = ScheduleKind::ZbV;
  s.zero = 3;
  s.recompute = Recompute::V3;
  check_equal(s);
}

TEST_CASE("layouts: fewer KV heads than tensor-parallel ranks") {
  ModelSpec model = testing::small_gqa();
  model.attention.qkv_bias = true;
  model.attention.qk_norm = QkNorm::PerHead;
  const testing::Trained one =
      testing::train(testing::small_plan(model, f32(), kSequence, kBatch), {.steps = 2});
  for (const bool sequence_parallel : {false, true}) {
    for (int zero = 0; zero <= 3; ++zero) {
      INFO("zero " << zero << ", sequence parallel " << sequence_parallel);
      Strategy s = f32();
      s.tp = 4;
      s.sequence_parallel = sequence_parallel;
      s.dp = s.dp_shard = zero > 0 ? 2 : 1;
      s.zero = zero;
      s.micro_batches = kBatch / s.dp;
      const testing::Trained mine =
          testing::train(testing::small_plan(model, s, kSequence, kBatch), {.steps = 2});
      REQUIRE(mine.error == "");
      CHECK(testing::difference(mine, one).relative < 1e-5);
      CHECK(mine.grad_norm[0] == Approx(one.grad_norm[0]).epsilon(1e-6));
      CHECK(mine.loss[1] == Approx(one.loss[1]).epsilon(1e-5));
    }
  }
}

namespace {

std::vector<ModelSpec> models_of_every_family() {
  std::vector<ModelSpec> models(4, testing::small_gqa());
  models[0].activation = Activation::Gelu;
  models[0].norm = NormKind::Layer;
  models[0].linear_bias = true;
  models[0].learned_positions = kSequence;
  models[1].attention.qk_norm = QkNorm::PerHead;
  models[2].moe = testing::small_mla().moe;
  models[2].moe->shared_gate = true;
  models[3] = testing::small_mla();
  models[3].mtp_layers = 1;
  models[3].moe->selection_bias = true;
  return models;
}

// Under bf16 the losses with every activation kept are those with every one made again, and near
// those of f32.
void check_made_again(const ModelSpec& model, Strategy s, const CommChoice& comm = {}) {
  const auto losses_of = [&](Recipe recipe, Recompute recompute) {
    s.precision = recipe;
    s.recompute = recompute;
    s.micro_batches = kBatch / s.dp;
    Plan plan = testing::small_plan(model, s, kSequence, kBatch);
    plan.comm = comm;
    const testing::Trained trained = testing::train(plan, {.steps = 3});
    REQUIRE(trained.error == "");
    return trained.loss;
  };
  const std::vector<double> kept = losses_of(Recipe::Bf16, Recompute::None);
  CHECK(losses_of(Recipe::Bf16, Recompute::Full) == kept);
  CHECK(losses_of(Recipe::F32, Recompute::None).back() == Approx(kept.back()).epsilon(2e-3));
}

}  // namespace

TEST_CASE("layouts: under bf16 what is computed again is what it was, in models of every family") {
  const std::vector<ModelSpec> models = models_of_every_family();
  for (const ModelSpec& model : models) {
    for (const char* exchange : {"", "ring", "all-to-all"}) {
      INFO(&model - models.data() << " " << exchange);
      Strategy s = f32();
      s.cp = *exchange == 0 ? 1 : 2;
      check_made_again(model, s, {.cp = exchange});
    }
  }
}

TEST_CASE("layouts: under bf16 sums over ranks are numbers of bf16 before they wait") {
  const std::vector<ModelSpec> models = models_of_every_family();
  for (const ModelSpec& model : models) {
    for (const bool sequence_parallel : {false, true}) {
      INFO(&model - models.data() << ", sequence parallel " << sequence_parallel);
      Strategy s = f32();
      s.tp = 2;
      s.sequence_parallel = sequence_parallel;
      check_made_again(model, s);
    }
    if (!model.moe) continue;
    Strategy s = f32();
    s.dp = s.ep = 2;
    check_made_again(model, s);
    check_made_again(model, s, {.ep = "all-gather"});
    s.ep = 1;
    s.etp = 2;
    check_made_again(model, s);
  }
}

}  // namespace narrows

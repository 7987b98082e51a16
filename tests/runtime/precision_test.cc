// The formats in which the runtime multiplies and keeps: what they save, and that they train.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "runtime/small_plans.h"

namespace narrows {
namespace {

// Large enough that sizes of arrays are not rounded up by much.
ModelSpec model_of_width_128() {
  ModelSpec m = testing::small_mla();
  m.hidden = 128;
  m.ffn = 256;
  m.attention.q_lora = 64;
  m.attention.kv_lora = 56;
  m.attention.qk_nope = 24;
  m.attention.qk_rope = 8;
  m.attention.v_dim = 32;
  m.moe->expert_ffn = 64;
  m.moe->shared_ffn = 64;
  return m;
}

Strategy in(Recipe precision, int micro_batches = 1) {
  Strategy s;
  s.precision = precision;
  s.micro_batch = 2;
  s.micro_batches = micro_batches;
  s.schedule = ScheduleKind::GPipe;
  return s;
}

// Bytes that one micro-batch leaves between F and B.
double kept_by_runtime(const Plan& plan) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  const Result<std::unique_ptr<Trainer>> trainer = Trainer::make(plan, *backend, nullptr);
  REQUIRE(trainer);
  (*trainer)->initialise(1);
  Timeline timeline;
  (*trainer)->executor().record(&timeline);
  const ReadTokens read = [&](std::int64_t step, std::int64_t row, std::span<std::int32_t> out) {
    fill(PortableRow{.seed = 1, .step = step, .row = row, .alphabet = plan.model.vocab}, out);
    return Status();
  };
  REQUIRE((*trainer)->compute_gradients(0, read));
  return timeline.memory.front().bytes / byte;
}

// What the memory model says of the same, of the graphs that the runtime walks. Full recomputation
// wraps layers: the head keeps all, and an FFN's input is made again by the attention.
double kept_by_model(const Plan& plan) {
  Fusions fusions;
  fusions.norm_residual = false;
  fusions.quantised_activations = plan.software.quantised_activations;
  double bytes = 0;
  const bool full = plan.strategy.recompute == Recompute::Full;
  const auto add = [&](BlockKind kind) {
    if (full && (kind == BlockKind::DenseFfn || kind == BlockKind::Moe)) return;
    Graph graph = build_block(
        {.kind = kind,
         .sharding = {.micro_batch = plan.strategy.micro_batch, .sequence = plan.training.sequence},
         .recipe = plan.strategy.precision,
         .fusions = fusions},
        plan.model, {.received = exactly(1), .copies = exactly(plan.model.moe->top_k)});
    const bool all = full && kind == BlockKind::Head;
    differentiate(graph, all ? Recompute::None : plan.strategy.recompute, fusions);
    const KeptBytes kept = kept_bytes(graph);
    bytes += (kept.until_input_grad + kept.until_weight_grad) / byte;
  };
  add(BlockKind::Head);
  for (int layer = 0; layer < plan.model.layers; ++layer) {
    add(BlockKind::Attention);
    add(layer < plan.model.moe->dense_layers ? BlockKind::DenseFfn : BlockKind::Moe);
  }
  return bytes;
}

}  // namespace

TEST_CASE("precision: what waits for its gradient takes the bytes that the memory model says") {
  for (const Recipe recipe : {Recipe::F32, Recipe::Bf16}) {
    for (const Recompute recompute : {Recompute::None, Recompute::V3, Recompute::Full}) {
      Strategy s = in(recipe);
      s.recompute = recompute;
      const Plan plan = testing::small_plan(model_of_width_128(), s, 128, 2);
      INFO(to_string(recipe) << " " << to_string(recompute));
      CHECK(kept_by_runtime(plan) == Approx(kept_by_model(plan)).epsilon(0.05));
    }
  }
}

TEST_CASE("precision: bf16 keeps half of what f32 keeps") {
  const ModelSpec model = model_of_width_128();
  const double wide = kept_by_runtime(testing::small_plan(model, in(Recipe::F32), 128, 2));
  const double narrow = kept_by_runtime(testing::small_plan(model, in(Recipe::Bf16), 128, 2));
  CHECK(narrow / wide == Approx(0.5).margin(0.03));  // statistics and routing stay floats
}

TEST_CASE("precision: activations cached in fp8 save what bf16 still keeps") {
  const ModelSpec model = model_of_width_128();
  Plan plan = testing::small_plan(model, in(Recipe::Fp8Block), 128, 2);
  const double wide = kept_by_runtime(plan);
  plan.software.quantised_activations = true;
  const double cached = kept_by_runtime(plan);
  CHECK(cached < 0.8 * wide);
}

TEST_CASE("precision: what bf16 kept gives the gradients of what it dropped and made again") {
  Strategy s = in(Recipe::Bf16, 2);
  const ModelSpec model = testing::small_mla();
  const testing::Trained kept = testing::train(testing::small_plan(model, s, 16, 4));
  for (const Recompute recompute : {Recompute::V3, Recompute::Full}) {
    s.recompute = recompute;
    const testing::Trained again = testing::train(testing::small_plan(model, s, 16, 4));
    REQUIRE(again.error == "");
    const testing::Difference worst = testing::difference(again, kept);
    INFO(worst.tensor);
    CHECK(worst.relative < 1e-6);
  }
}

TEST_CASE(
    "precision: bf16 on two ranks is one rank's to its rounding, and bytes where nothing is "
    "split") {
  ModelSpec model = model_of_width_128();
  Strategy s = in(Recipe::Bf16, 2);
  const auto trained = [&] {
    const testing::Trained result = testing::train(testing::small_plan(model, s, 32, 4));
    REQUIRE(result.error == "");
    return result;
  };
  const testing::Trained routed = trained();
  s.pp = 2;
  CHECK(testing::difference(trained(), routed).relative == 0);
  s.pp = 1;
  s.dp = s.ep = 2;
  s.micro_batches = 1;
  CHECK(testing::difference(trained(), routed).relative < 1e-2);
  s = in(Recipe::Bf16, 2);
  model.moe.reset();  // a token that is routed elsewhere changes an expert's gradient
  const testing::Trained dense = trained();
  s.tp = 2;
  for (const bool sequence_parallel : {false, true}) {
    s.sequence_parallel = sequence_parallel;
    const testing::Difference worst = testing::difference(trained(), dense);
    INFO(worst.tensor << ", sequence parallel " << sequence_parallel);
    CHECK(worst.relative < 1e-2);
  }
}

TEST_CASE("precision: fp8-block gives the loss of f32 to two digits, and gradients to one") {
  ModelSpec model = model_of_width_128();
  model.moe.reset();  // with few tokens, one that is routed elsewhere changes an expert's gradient
  const testing::Trained wide = testing::train(testing::small_plan(model, in(Recipe::F32), 32, 2));
  for (const bool caches : {false, true}) {
    Plan plan = testing::small_plan(model, in(Recipe::Fp8Block), 32, 2);
    plan.software.quantised_activations = caches;
    const testing::Trained narrow = testing::train(plan);
    REQUIRE(narrow.error == "");
    CHECK(narrow.loss[0] == Approx(wide.loss[0]).epsilon(1e-2));
    CHECK(narrow.loss[0] != wide.loss[0]);
    const testing::Difference worst = testing::difference(narrow, wide);
    INFO(worst.tensor);
    CHECK(worst.relative < 0.25);
  }
}

TEST_CASE("precision: moments in bf16 train nearly as floats do") {
  const ModelSpec model = model_of_width_128();
  const testing::SmallRun run{.steps = 12, .optimizer = {.learning_rate = 2e-3}};
  Plan plan = testing::small_plan(model, in(Recipe::F32), 32, 2);
  const testing::Trained wide = testing::train(plan, run);
  plan.software.moment_dtype = Dtype::Bf16;
  const testing::Trained narrow = testing::train(plan, run);
  REQUIRE(narrow.error == "");
  CHECK(narrow.loss[1] == Approx(wide.loss[1]).epsilon(1e-3));
  CHECK(narrow.loss.back() == Approx(wide.loss.back()).epsilon(1e-2));
  CHECK(narrow.loss.back() != wide.loss.back());
}

TEST_CASE("precision: fp8-block trains, and two ranks agree with one to its rounding") {
  const ModelSpec model = model_of_width_128();
  Strategy s = in(Recipe::Fp8Block, 2);
  s.schedule = ScheduleKind::OneFOneB;
  const testing::SmallRun run{.steps = 12, .optimizer = {.learning_rate = 2e-3}};
  const testing::Trained alone = testing::train(testing::small_plan(model, s, 32, 4), run);
  REQUIRE(alone.error == "");
  CHECK(alone.loss.back() < 0.8 * alone.loss.front());
  s.pp = 2;
  const testing::Trained two = testing::train(testing::small_plan(model, s, 32, 4), run);
  REQUIRE(two.error == "");
  CHECK(two.loss[0] == Approx(alone.loss[0]).epsilon(1e-6));  // nothing is split
  CHECK(two.loss.back() == Approx(alone.loss.back()).epsilon(1e-3));
}

}  // namespace narrows

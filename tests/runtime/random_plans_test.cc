// Seeded random small plans over all axes and schedules train as one rank does. Where rounding
// flips a token's choice of expert, gradients and losses may differ by that token: such plans are
// counted, and they must be few.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cstdio>

#include "base/random.h"
#include "plan/validate.h"
#include "runtime/small_plans.h"

namespace narrows {
namespace {

constexpr std::int64_t kSequence = 16;
constexpr std::int64_t kBatch = 8;
constexpr int kPlans = 200;
constexpr int kModels = 9;
// Of the losses beside the next token's; only models that have them are changed by them.
constexpr LossWeights kWeights{.aux = 0.1, .mtp = 0.5};
constexpr double kBalanceRate = 0.01;

bool is_latent(int kind) { return kind < 3 || kind == 4; }

ModelSpec model_of(int kind) {
  ModelSpec m = is_latent(kind) ? testing::small_mla() : testing::small_gqa();
  m.layers = 4;
  if (kind == 1) {
    m.moe->score = RouterScore::Sigmoid;
    m.moe->experts = 8;
    m.moe->groups = 4;
    m.moe->top_groups = 2;
    m.attention.q_lora = 0;
  }
  if (kind == 2) m.moe->dense_layers = 0;
  if (kind == 3) m.tied_embeddings = true;
  if (kind == 4) {
    m.moe->score = RouterScore::Sigmoid;
    m.moe->selection_bias = true;
    m.mtp_layers = 1;
  }
  if (kind == 5) {
    m.mtp_layers = 1;
    m.tied_embeddings = true;
  }
  if (kind == 6) {  // Qwen's
    m.moe = testing::small_mla().moe;
    m.moe->shared_gate = true;
    m.attention.qkv_bias = true;
  }
  if (kind == 7) {
    m.attention.qk_norm = QkNorm::PerHead;
    m.attention.window = 5;
    m.attention.window_every = 2;
    m.numerics =
        Numerics{.rope_scaling = "llama3", .scaling = {.factor = 4, .positions = kSequence / 2}};
  }
  if (kind == 8) {  // GPT-2's
    m.attention.kv_heads = 4;
    m.activation = Activation::Gelu;
    m.norm = NormKind::Layer;
    m.linear_bias = true;
    m.attention.qkv_bias = true;
    m.learned_positions = kSequence;
    m.tied_embeddings = true;
  }
  return m;
}

// The numbers that validate.h's rules look at; the runtime's own software can run everything.
Limits limits_of(const ModelSpec& m, int gpus) {
  const unsigned all = ~0u;
  return {.gpus = gpus,
          .heads = m.attention.heads,
          .kv_heads = m.attention.kv_heads,
          .ffn = m.ffn,
          .vocab = m.vocab,
          .experts = m.moe ? m.moe->experts : 0,
          .expert_ffn = m.moe ? m.moe->expert_ffn : 0,
          .shared_ffn = m.moe ? m.moe->shared_ffn : 0,
          .items = m.layers + m.mtp_layers + 2,
          .mla = m.attention.kind == AttentionKind::Mla,
          .sequence = kSequence,
          .global_batch = kBatch,
          .schedules = all,
          .recipes = all,
          .chip_recipes = all,
          .recomputes = all,
          .zero_stages = all,
          .sequence_parallel = true,
          .context_exchanges = all,
          .expert_tensor_parallel = true,
          .most_chunks_per_rank = 8};
}

int power_of_two(Random& random, int most) {
  int n = 1;
  while (n < most && random.below(2) == 0) n *= 2;
  return n;
}

Strategy random_strategy(Random& random) {
  Strategy s;
  s.precision = Recipe::F32;
  s.tp = power_of_two(random, 4);
  s.pp = power_of_two(random, 4);
  s.cp = power_of_two(random, 2);
  s.dp = power_of_two(random, 4);
  s.ep = power_of_two(random, 4);
  s.etp = power_of_two(random, 2);
  s.dp_shard = power_of_two(random, 4);
  s.zero = s.dp_shard > 1 ? static_cast<int>(random.between(1, 3)) : 0;
  s.micro_batch = power_of_two(random, 2);
  s.sequence_parallel = random.below(3) > 0;
  s.order = random.below(2) == 0 ? AxisOrder::TpCpDpPp : AxisOrder::TpCpPpDp;
  s.schedule = all_schedules()[random.below(all_schedules().size())];
  if (s.pp == 1) s.schedule = ScheduleKind::OneFOneB;
  s.vpp = s.schedule == ScheduleKind::Interleaved ? 2 : 1;
  s.recompute = all_recomputes()[random.below(all_recomputes().size())];
  s.micro_batches = kBatch / s.dp / s.micro_batch;
  return s;
}

// A plan of 2 to 8 ranks that keeps the rules, of the model of a random kind.
struct Drawn {
  int kind = 0;
  Strategy strategy;
  ContextExchange context = ContextExchange::AllGather;
  std::string dispatcher;
};
ContextExchange random_exchange(Random& random) {
  constexpr ContextExchange kAll[] = {ContextExchange::AllGather, ContextExchange::Ring,
                                      ContextExchange::AllToAll};
  return kAll[random.below(3)];
}
Drawn draw(Random& random) {
  for (;;) {
    Drawn drawn{static_cast<int>(random.below(kModels)), random_strategy(random)};
    const int gpus = gpus_of(drawn.strategy);
    if (gpus < 2 || gpus > 8) continue;
    drawn.context = random_exchange(random);
    drawn.dispatcher = random.below(3) == 0 ? "all-gather" : "all-to-all";
    const AttentionSpec attention = model_of(drawn.kind).attention;
    if (!spreads(drawn.context, attention, drawn.strategy.tp, drawn.strategy.cp)) continue;
    if (!broken_rule(drawn.strategy, limits_of(model_of(drawn.kind), gpus))) return drawn;
  }
}

std::string words(const Drawn& d) {
  const Strategy& s = d.strategy;
  char text[256];
  std::snprintf(
      text, sizeof text,
      "model %d: tp%d sp%d cp%d dp%d pp%d ep%d etp%d zero%d/%d mb%d %s %s %s cp by %s ep by %s",
      d.kind, s.tp, s.sequence_parallel, s.cp, s.dp, s.pp, s.ep, s.etp, s.zero, s.dp_shard,
      s.micro_batch, to_string(s.schedule).c_str(), to_string(s.recompute).c_str(),
      to_string(s.order).c_str(), to_string(d.context).c_str(), d.dispatcher.c_str());
  return text;
}

const testing::SmallRun kRun{
    .steps = 3, .optimizer = {.balance_rate = kBalanceRate}, .weights = kWeights};

const testing::Trained& alone(int kind) {
  static std::map<int, testing::Trained> results;
  if (!results.contains(kind)) {
    Strategy s;
    s.precision = Recipe::F32;
    s.micro_batches = kBatch;
    results[kind] = testing::train(testing::small_plan(model_of(kind), s, kSequence, kBatch), kRun);
  }
  return results[kind];
}

bool same(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (!(std::fabs(a[i] - b[i]) <= tolerance * b[i])) return false;
  }
  return true;
}

bool same_losses(const testing::Trained& a, const testing::Trained& b, double tolerance) {
  return same(a.loss, b.loss, tolerance) && same(a.mtp_loss, b.mtp_loss, tolerance) &&
         same(a.aux_loss, b.aux_loss, tolerance);
}

}  // namespace

TEST_CASE("random plans: two hundred train as one rank does") {
  Random random(20261122);
  int flipped = 0;
  for (int i = 0; i < kPlans; ++i) {
    const Drawn drawn = draw(random);
    INFO("plan " << i << ", " << words(drawn));
    Plan plan = testing::small_plan(model_of(drawn.kind), drawn.strategy, kSequence, kBatch);
    plan.comm.cp = to_string(drawn.context);
    plan.comm.ep = drawn.dispatcher;
    const testing::Trained mine = testing::train(plan, kRun);
    REQUIRE(mine.error == "");
    const testing::Trained& one = alone(drawn.kind);
    const testing::Difference worst = testing::difference(mine, one);
    INFO("worst tensor: " << worst.tensor << " by " << worst.relative);
    if (worst.relative <= 1e-5 && same_losses(mine, one, 1e-5) && mine.biases == one.biases)
      continue;
    ++flipped;
    CHECK(same_losses(mine, one, 1e-3));
    WARN("plan " << i << ": " << words(drawn) << ": " << worst.tensor << " by " << worst.relative);
  }
  CHECK(flipped * 20 <= kPlans);
}

}  // namespace narrows

// State of a rank by hand, and the law that all ranks together hold the model.
// SPDX-License-Identifier: Apache-2.0
#include "cost/state_bytes.h"

#include "base/random.h"
#include "cost/cost_fixture.h"
#include "plan/validate.h"

namespace narrows {
namespace {

SoftwareProfile plain_stack() {
  SoftwareProfile software;  // gradients, master and moments in fp32
  return software;
}

HeldParameters held_of_all(const ModelSpec& model, const Strategy& strategy) {
  return HeldTable(model, strategy).of(classes_of(model));
}

StateBytes on_one_rank(const std::string& model, const Strategy& strategy) {
  return state_bytes(held_of_all(builtin(model), strategy), strategy, Grid(strategy),
                     plain_stack());
}

// Contiguous items over pp stages at random.
std::vector<std::vector<ItemClass>> random_stages(Random& random, const ModelSpec& model, int pp) {
  std::vector<std::vector<ItemClass>> stages(static_cast<std::size_t>(pp));
  const std::vector<ItemClass> classes = classes_of(model);
  const int items = static_cast<int>(classes.size());
  int stage = 0;
  for (int i = 0; i < items; ++i) {
    stages[static_cast<std::size_t>(stage)].push_back(classes[static_cast<std::size_t>(i)]);
    const int left = items - 1 - i, stages_left = pp - 1 - stage;
    if (stages_left > 0 &&
        (left == stages_left || random.below(static_cast<std::uint64_t>(items / pp)) == 0))
      ++stage;
  }
  return stages;
}

// Every parameter as often as tensor parallelism and the pipeline replicate it, data parallelism
// apart.
double copies_in_pipeline(const ModelSpec& model, const Strategy& s,
                          const std::vector<std::vector<ItemClass>>& stages, double expert_copies) {
  double sum = 0;
  const double table = static_cast<double>(model.vocab) * model.hidden;
  for (const std::vector<ItemClass>& stage : stages) {
    bool embeds = false, predicts = false;
    for (const ItemClass& item : stage) {
      const ItemParameters p = item_parameters(model, item.kind);
      sum += p.dense - p.replicated + s.tp * (p.replicated + p.norm) + expert_copies * p.expert;
      embeds = embeds || item.kind == ItemKind::Embedding || item.kind == ItemKind::MtpBlock;
      predicts = predicts || item.kind == ItemKind::Head || item.kind == ItemKind::MtpBlock;
    }
    const bool same = embeds && predicts && model.tied_embeddings;
    sum += table * (same ? 1 : embeds + predicts);
    if (embeds) sum += static_cast<double>(s.tp) * model.learned_positions * model.hidden;
  }
  return sum;
}

}  // namespace

TEST_CASE("state: ZeRO's arithmetic for Llama-3.1-8B on eight ranks") {
  // 2 bytes of weight, 4 of gradient, 12 of optimiser; 8,030,261,248 parameters (rajbhandari2020).
  const double psi = 8030261248;
  Strategy s{.dp = 8, .dp_shard = 1, .zero = 0};
  CHECK(on_one_rank("llama-3.1-8b", s).all() / byte == Approx(18 * psi).epsilon(1e-12));
  s.dp_shard = 8;
  s.zero = 1;
  CHECK(on_one_rank("llama-3.1-8b", s).all() / byte == Approx((6 + 12 / 8.0) * psi).epsilon(1e-12));
  s.zero = 2;
  CHECK(on_one_rank("llama-3.1-8b", s).all() / byte == Approx((2 + 16 / 8.0) * psi).epsilon(1e-12));
  s.zero = 3;
  CHECK(on_one_rank("llama-3.1-8b", s).all() / byte == Approx(18 / 8.0 * psi).epsilon(1e-12));
  s.precision = Recipe::F32;  // weights are their own master
  s.zero = 0;
  s.dp_shard = 1;
  CHECK(on_one_rank("llama-3.1-8b", s).all() / byte == Approx(16 * psi).epsilon(1e-12));
}

TEST_CASE("state: tensor parallelism divides Llama-3.1-70B but its norms") {
  const double norms = 161 * 8192.0, psi = 70553706496.0;
  const Strategy s{.tp = 8, .dp = 4, .dp_shard = 1, .zero = 0};
  CHECK(on_one_rank("llama-3.1-70b", s).weights / byte ==
        Approx(2 * ((psi - norms) / 8 + norms)).epsilon(1e-12));
}

TEST_CASE("state: an average rank of DeepSeek-V3 holds its published gigabytes") {
  // deepseek2024 on 2,048 H800: two stages of sixteen, embedding and head apart.
  const ModelSpec model = builtin("deepseek-v3");
  const Strategy s = v3_strategy();
  const SoftwareProfile software = value_of(find_software("hai-llm"));
  HeldParameters held = held_of_all(model, s);
  held.tables = 0;
  held.dense -= 2.0 * 7168 * 7168;  // the MTP block's projection, which the count leaves out
  for (double* part : {&held.dense, &held.norm, &held.expert}) *part *= 2.0 / 16;
  CHECK(held.expert / 1e9 == Approx(1.299).epsilon(0.001));
  CHECK(held.all() / 1e9 == Approx(3.236).epsilon(0.001));
  const StateBytes state = state_bytes(held, s, Grid(s), software);
  CHECK(state.weights / GB == Approx(3.24).epsilon(0.003));
  CHECK(state.gradients / GB == Approx(12.95).epsilon(0.001));
  CHECK(state.optimizer / GB == Approx(2.60 + 0.06).epsilon(0.003));
}

TEST_CASE("state: adapters beside frozen weights alone have gradients and moments") {
  ModelSpec model = builtin("llama-3.1-70b");
  const Strategy s{.tp = 8, .precision = Recipe::Bf16};
  const StateBytes all = state_bytes(held_of_all(model, s), s, Grid(s), plain_stack());
  model.lora_rank = 16;
  const HeldParameters held = held_of_all(model, s);
  const StateBytes few = state_bytes(held, s, Grid(s), plain_stack());
  CHECK(held.adapters == 80 * 16 * (8192 + 10 * 128));
  CHECK((few.weights - all.weights) / byte == Approx(2 * held.adapters));
  CHECK(few.gradients / byte == Approx(4 * held.adapters));
  CHECK(few.optimizer / byte == Approx(12 * held.adapters));
}

TEST_CASE("state: quantised weights carry one scale a 128 x 128 block") {
  Strategy s{.dp = 8, .dp_shard = 1, .zero = 0, .precision = Recipe::Fp8Block};
  SoftwareProfile software = plain_stack();
  software.resident_quantised_weights = true;
  HeldParameters held;
  held.dense = 128.0 * 128 * 1000;
  CHECK(state_bytes(held, s, Grid(s), software).weights / byte == (128.0 * 128 + 4) * 1000);
}

TEST_CASE("state: all ranks together hold every parameter as often as the layout replicates it") {
  Random random(11);
  int checked = 0;
  for (int round = 0; round < 4000; ++round) {
    static const std::vector<std::string> names = {
        "llama-3.1-8b", "qwen2.5-1.5b",     "gpt3-175b",       "mixtral-8x7b",
        "deepseek-v3",  "deepseek-v2-lite", "qwen3-235b-a22b", "glm-4.5"};
    const ModelSpec model = builtin(names[random.below(names.size())]);
    Strategy s;
    const auto power = [&](int most) {
      return 1 << random.below(static_cast<std::uint64_t>(most));
    };
    s.tp = power(4);
    s.cp = power(2);
    s.dp = power(6);
    s.pp = power(5);
    if (model.moe) {
      s.ep = power(6);
      s.etp = power(2);
    }
    const int stage = s.tp * s.cp * s.dp;
    s.zero = static_cast<int>(random.below(4));
    s.dp_shard = s.zero == 0 ? 1 : power(6);
    const Limits rules{.gpus = gpus_of(s),
                       .heads = 1 << 10,
                       .kv_heads = 1 << 10,
                       .ffn = 1 << 20,
                       .vocab = 1 << 20,
                       .experts = model.moe ? 1 << 10 : 0,
                       .expert_ffn = 1 << 20};
    if ((s.dp * s.cp) % s.dp_shard != 0 || stage % (s.ep * s.etp) != 0) continue;
    if (broken_zero_rule(s, [&] {
          Limits all = rules;
          all.zero_stages = 15;
          return all;
        }()))
      continue;
    const SoftwareProfile software = plain_stack();
    const Grid grid(s);
    const HeldTable table(model, s);
    const auto stages = random_stages(random, model, s.pp);
    StateBytes sum;
    for (const auto& items : stages) {
      const StateBytes one = state_bytes(table.of(items), s, grid, software);
      sum.weights += stage * one.weights;
      sum.gradients += stage * one.gradients;
      sum.optimizer += stage * one.optimizer;
    }
    const double edp = static_cast<double>(stage) / (s.ep * s.etp);
    const double replicas = s.dp * s.cp;
    // Dense parameters `replicas` times, experts edp times; sharded: both divided.
    const auto expected = [&](bool sharded) {
      const double dense = sharded ? replicas / s.dp_shard : replicas;
      const double expert = sharded ? edp / grid.expert_shard() : edp;
      return dense * copies_in_pipeline(model, s, stages, expert / dense);
    };
    CAPTURE(model.name, s.tp, s.cp, s.dp, s.pp, s.ep, s.etp, s.zero, s.dp_shard);
    CHECK(sum.weights / byte == Approx(2 * expected(s.zero >= 3)).epsilon(1e-9));
    CHECK(sum.gradients / byte == Approx(4 * expected(s.zero >= 2)).epsilon(1e-9));
    CHECK(sum.optimizer / byte == Approx(12 * expected(s.zero >= 1)).epsilon(1e-9));
    // A shard over all replicas leaves exactly one copy of an expert.
    if (s.dp_shard == s.dp * s.cp) CHECK(grid.expert_shard() == Approx(edp));
    ++checked;
  }
  CHECK(checked > 500);
}

TEST_CASE("state: masters may be what 16-bit weights lack, or the weights themselves") {
  const ModelSpec model = builtin("llama-3.1-8b");
  Strategy s;
  const double weights = held_of_all(model, s).all();
  const auto per_weight = [&](const SoftwareProfile& software, Recipe recipe) {
    s.precision = recipe;
    return state_bytes(held_of_all(model, s), s, Grid(s), software).optimizer / byte / weights;
  };
  SoftwareProfile software = plain_stack();
  CHECK(per_weight(software, Recipe::Bf16) == Approx(12));
  software.master_remainders = true;
  CHECK(per_weight(software, Recipe::Bf16) == Approx(10));
  CHECK(per_weight(software, Recipe::Fp8Tensor) == Approx(12));
  software = plain_stack();
  software.master_dtype = software.moment_dtype = Dtype::Bf16;
  CHECK(per_weight(software, Recipe::Bf16) == Approx(4));
  CHECK(per_weight(software, Recipe::Fp8Tensor) == Approx(6));
}

}  // namespace narrows

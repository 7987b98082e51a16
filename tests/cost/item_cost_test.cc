// SPDX-License-Identifier: Apache-2.0
#include "cost/item_cost.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/random.h"
#include "cost/cost_fixture.h"

namespace narrows {
namespace {

Tick apart(const ItemCost& ahead, const ItemCost& back) {
  return ahead.forward + back.input_grad + back.weight_grad;
}
Seconds compute_of(const ItemPhases& ahead, const ItemPhases& back) {
  return ahead.attention_forward + ahead.mlp_forward + back.attention_input_grad +
         back.mlp_input_grad + back.attention_weight_grad + back.mlp_weight_grad;
}

double normal(Random& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(6.283185307179586 * random.uniform());
}

}  // namespace

TEST_CASE("item cost: classes follow the model in order") {
  const ModelSpec v3 = builtin("deepseek-v3");
  const std::vector<ItemClass> classes = classes_of(v3);
  REQUIRE(classes.size() == 64);
  CHECK(classes.front().kind == ItemKind::Embedding);
  CHECK(classes[3].kind == ItemKind::DenseLayer);
  CHECK(classes[4].kind == ItemKind::MoeLayer);
  CHECK(classes[62].kind == ItemKind::MtpBlock);
  CHECK(classes.back().kind == ItemKind::Head);
}

TEST_CASE("item cost: an overlapped pair is no slower than apart, no faster than either stream") {
  for (const int ep : {8, 64}) {
    Pricing p("deepseek-v3", "h800-2048", "hai-llm");
    for (const Recompute recompute : all_recomputes()) {
      Strategy s = v3_strategy();
      s.ep = ep;
      s.recompute = recompute;
      const BlockLayout layout = p.layout(s, 4096);
      for (const ItemClass ahead : classes_of(p.model)) {
        for (const ItemClass back : {ItemClass{ItemKind::DenseLayer}, ItemClass{ItemKind::MoeLayer},
                                     ItemClass{ItemKind::MtpBlock}, ItemClass{ItemKind::Head}}) {
          const ItemCost& a = p.items.price(ahead, layout);
          const ItemCost& b = p.items.price(back, layout);
          const Tick pair = p.items.pair(ahead, back, layout);
          CAPTURE(ep, to_string(recompute), to_string(ahead.kind), to_string(back.kind));
          CHECK(pair <= apart(a, b));
          CHECK(to_seconds(pair) / us >= Approx(compute_of(a.phases, b.phases) / us));
          CHECK(to_seconds(pair) / us >=
                Approx((a.phases.exchange.forward() + b.phases.exchange.backward()) / us));
          CHECK(p.items.pair_exposed(ahead, back, layout) <= pair);
          // What waits in a pair is at most all of its communication.
          CHECK(p.items.pair_exposed(ahead, back, layout) <=
                a.forward_exposed + b.input_grad_exposed + Tick{2});
        }
      }
    }
  }
}

TEST_CASE("item cost: any two streams pair within their busy times and their sum") {
  SoftwareProfile free;
  free.overlap_ep_in_pairs = true;  // no slow-downs, no multiprocessors taken
  Random random(7);
  const auto draw = [&] { return static_cast<double>(random.between(0, 1000)) * us; };
  for (int round = 0; round < 10000; ++round) {
    ItemPhases a, b;
    for (ItemPhases* p : {&a, &b}) {
      *p = {draw(), draw(), draw(), draw(), draw(), draw(), 0.7, {draw(), draw(), draw(), draw()}};
    }
    const PairTime time = pair_time(a, b, free, 132);
    const Seconds compute = compute_of(a, b);
    const Seconds talk = a.exchange.forward() + b.exchange.backward();
    CAPTURE(round, time.time / us, compute / us, talk / us);
    CHECK(time.time / us >= Approx(max(compute, talk) / us).margin(1e-6));
    CHECK(time.time / us <= Approx((compute + talk) / us).margin(1e-6));
    CHECK(time.waiting / us == Approx((time.time - compute) / us).margin(1e-6));
  }
}

TEST_CASE("item cost: recomputation keeps less and never shortens I") {
  for (const auto& [model, cluster, software] : {std::tuple{"deepseek-v3", "h800-2048", "hai-llm"},
                                                 {"llama-3.1-70b", "h100:64", "megatron-core"},
                                                 {"mixtral-8x7b", "h100:64", "megatron-core"}}) {
    Pricing p(model, cluster, software);
    const Strategy s{.dp = p.cluster.gpus, .micro_batches = 1};
    for (const ItemClass item : classes_of(p.model)) {
      const ItemCost none = p.items.price(item, p.layout(s, 4096));
      for (const Recompute recompute : all_recomputes()) {
        Strategy again = s;
        again.recompute = recompute;
        const ItemCost& cost = p.items.price(item, p.layout(again, 4096));
        CAPTURE(model, to_string(item.kind), to_string(recompute));
        CHECK(cost.forward == none.forward);
        CHECK(cost.weight_grad == none.weight_grad);
        CHECK(cost.input_grad >= none.input_grad);
        CHECK(cost.kept.until_input_grad + cost.kept.until_weight_grad <=
              none.kept.until_input_grad + none.kept.until_weight_grad);
      }
    }
  }
}

TEST_CASE("item cost: full recomputation keeps a layer's input alone") {
  for (const char* name : {"llama-3.1-70b", "mixtral-8x7b", "deepseek-v3"}) {
    Pricing p(name, "h100:64", "megatron-core");
    const Strategy s{.dp = 64, .recompute = Recompute::Full};
    for (const ItemClass item : classes_of(p.model)) {
      if (item.kind != ItemKind::DenseLayer && item.kind != ItemKind::MoeLayer) continue;
      const ItemCost& cost = p.items.price(item, p.layout(s, 2048));
      CAPTURE(name, to_string(item.kind));
      CHECK(cost.kept.until_input_grad == 2.0 * p.model.hidden * 2048 * byte);
      CHECK(cost.kept.until_weight_grad == Bytes());
    }
  }
}

TEST_CASE("item cost: full recomputation spares the head") {
  for (const char* name : {"llama-3.1-70b", "deepseek-v3"}) {
    Pricing p(name, "h100:64", "megatron-core");
    Strategy s{.dp = 64};
    const ItemCost none = p.items.price({ItemKind::Head}, p.layout(s, 2048));
    s.recompute = Recompute::Full;
    const ItemCost& full = p.items.price({ItemKind::Head}, p.layout(s, 2048));
    CHECK(full.input_grad == none.input_grad);
    CHECK(full.kept.until_input_grad == none.kept.until_input_grad);
  }
}

TEST_CASE("item cost: exposed communication is part of its pass") {
  Pricing p("deepseek-v3", "h800-2048", "hai-llm");
  for (const int ep : {1, 8, 64}) {
    Strategy s = v3_strategy();
    s.ep = ep;
    for (const ItemClass item : classes_of(p.model)) {
      const ItemCost& cost = p.items.price(item, p.layout(s, 4096));
      CHECK(cost.forward_exposed <= cost.forward);
      CHECK(cost.input_grad_exposed <= cost.input_grad);
      const bool talks = cost.forward_exposed > Tick{};
      CHECK(talks ==
            (ep > 1 && (item.kind == ItemKind::MoeLayer || item.kind == ItemKind::MtpBlock)));
    }
  }
}

TEST_CASE("item cost: a pair of V3's MoE layers takes what its training trace shows, within 10 %") {
  Pricing p("deepseek-v3", "h800-2048", "hai-llm");
  const BlockLayout layout = p.layout(v3_strategy(), 4096);
  const ItemClass moe{ItemKind::MoeLayer};
  // profile-data train.json: 129.01 ms wall for four layers, 31.3 to 32.8 each.
  const double pair = to_seconds(p.items.pair(moe, moe, layout)) / ms;
  CHECK(pair == Approx(129.01 / 4).epsilon(0.10));
  const ItemCost& alone = p.items.price(moe, layout);
  const auto four = [](Tick t) { return 4 * to_seconds(t) / ms; };
  const ItemPhases& phases = alone.phases;
  WARN("V3 pair of one MoE layer " << pair << " ms (trace 32.25); four layers apart: F "
                                   << four(alone.forward) << " (57.6), I " << four(alone.input_grad)
                                   << " (84.1), W " << four(alone.weight_grad) << " (41.7) ms");
  WARN("phases in us: attn F " << phases.attention_forward / us << " (4370), mlp F "
                               << phases.mlp_forward / us << " (4602), attn I "
                               << phases.attention_input_grad / us << " (9341), attn W "
                               << phases.attention_weight_grad / us << " (2389), mlp I "
                               << phases.mlp_input_grad / us << " (5306), mlp W "
                               << phases.mlp_weight_grad / us << " (5063)");
  WARN("exchanges in us: dispatch " << phases.exchange.dispatch / us << " (4346), combine "
                                    << phases.exchange.combine / us << " (5994), dY "
                                    << phases.exchange.combine_gradient / us << " (3405), dX "
                                    << phases.exchange.dispatch_gradient / us << " (6368)");
}

TEST_CASE("item cost: shared experts hide tokens that travel where the stack overlaps them") {
  SoftwareProfile plain = value_of(find_software("megatron-core"));
  SoftwareProfile overlapping = plain;
  overlapping.overlap_shared_expert = true;
  const Strategy s{.ep = 64, .dp = 64, .precision = Recipe::Bf16};
  const ItemClass moe{ItemKind::MoeLayer};
  Pricing apart(builtin("deepseek-v3"), cluster_named("h100:64"), plain);
  Pricing together(builtin("deepseek-v3"), cluster_named("h100:64"), overlapping);
  const ItemCost& a = apart.items.price(moe, apart.layout(s, 4096));
  const ItemCost& b = together.items.price(moe, together.layout(s, 4096));
  const BlockCost& block = apart.blocks.price(BlockKind::Moe, false, apart.layout(s, 4096));
  const Seconds shared = block.forward.beside;
  CHECK(shared > Seconds());
  CHECK(shared < block.forward.compute());
  const Seconds hidden = min(shared, block.exchange.forward());
  CHECK(to_seconds(a.forward - b.forward) / us == Approx(hidden / us).margin(0.01));
  CHECK(b.input_grad < a.input_grad);
  CHECK(b.weight_grad == a.weight_grad);
  CHECK(b.forward >= round_up(block.exchange.forward()));
}

TEST_CASE("item cost: the clock under load follows the share of time that multiplies") {
  // All the time: the full slow-down. None: none. Between: power meets its limit.
  CHECK(load_slowdown(1.148, 1.0) == Approx(1.148));
  CHECK(load_slowdown(1.148, 0.0) == 1);
  const double x = load_slowdown(1.148, 0.8);
  CHECK((x > 1 && x < 1.148));
  CHECK(0.8 * 1.148 * 1.148 * 1.148 / (x * x * x) + 0.2 * 0.6 == Approx(1).epsilon(1e-6));
  CHECK(load_slowdown(1.0, 0.9) == 1);
}

TEST_CASE("item cost: all wait for the slowest chip, as drawn") {
  Chip chip = cluster_named("h100:8").chip;
  chip.spread = Figure<double>{0.02, "a test"};
  CHECK(slowest_of(chip, 1) == 1);
  Random random(5);
  for (const int chips : {8, 512}) {
    double sum = 0;
    constexpr int kDraws = 2000;
    for (int draw = 0; draw < kDraws; ++draw) {
      double slowest = 0;
      for (int i = 0; i < chips; ++i) slowest = std::max(slowest, 1 + 0.02 * normal(random));
      sum += slowest;
    }
    INFO(chips);
    CHECK(slowest_of(chip, chips) == Approx(sum / kDraws).epsilon(0.002));
  }
  chip.spread.reset();
  CHECK(slowest_of(chip, 512) == 1);
}

TEST_CASE("item cost: a larger cluster's slowest chip is slower, in what multiplies only") {
  const auto layer = [](const std::string& cluster) {
    Pricing p("llama-3.1-8b", cluster, "megatron-core");
    const BlockLayout layout = p.layout({}, 4096);
    const ItemCost& item = p.items.price({ItemKind::DenseLayer, false}, layout);
    return std::pair(item.forward, item.phases.multiply_share);
  };
  const auto [few, share] = layer("h100:8");
  const auto [many, same] = layer("h100:4096");
  const Chip chip = cluster_named("h100:8").chip;
  const double more = slowest_of(chip, 4096) / slowest_of(chip, 8) - 1;
  CHECK(more > 0.01);
  const double grown = to_seconds(many) / to_seconds(few) - 1;
  CHECK(grown < more);
  CHECK(grown == Approx(share * more).epsilon(0.15));
}

}  // namespace narrows

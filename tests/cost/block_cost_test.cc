// SPDX-License-Identifier: Apache-2.0
#include "cost/block_cost.h"

#include "cost/cost_fixture.h"

namespace narrows {
namespace {

struct Place {
  const char* model;
  const char* cluster;
  const char* software;
  Strategy strategy;
};

std::vector<Place> places() {
  Strategy v3 = v3_strategy();
  const Strategy llama{.tp = 8,
                       .pp = 4,
                       .dp = 4,
                       .micro_batches = 8,
                       .sequence_parallel = true,
                       .precision = Recipe::Bf16};
  const Strategy mixtral{.ep = 8, .dp = 64, .micro_batches = 4, .precision = Recipe::Bf16};
  return {{"deepseek-v3", "h800-2048", "hai-llm", v3},
          {"llama-3.1-70b", "h100:128", "megatron-core", llama},
          {"mixtral-8x7b", "h100:64", "megatron-core", mixtral}};
}

std::vector<BlockKind> blocks_in(const ModelSpec& model) {
  std::vector<BlockKind> kinds{BlockKind::Attention, BlockKind::Embedding, BlockKind::Head};
  if (model.ffn > 0) kinds.push_back(BlockKind::DenseFfn);
  if (model.moe) kinds.push_back(BlockKind::Moe);
  return kinds;
}

Seconds sum_by_basis(const PassCost& pass) {
  Seconds sum;
  for (const Seconds t : pass.by_basis) sum += t;
  return sum;
}

}  // namespace

TEST_CASE("block cost: shares by basis add up, and no pass beats the chip's peak") {
  for (const Place& place : places()) {
    Pricing p(place.model, place.cluster, place.software);
    for (const Recompute recompute : all_recomputes()) {
      Strategy s = place.strategy;
      s.recompute = recompute;
      const BlockLayout layout = p.layout(s, 4096);
      for (const BlockKind kind : blocks_in(p.model)) {
        CAPTURE(place.model, static_cast<int>(kind), to_string(recompute));
        const BlockCost& cost = p.blocks.price(kind, false, layout);
        for (const PassCost* pass :
             {&cost.forward, &cost.recompute, &cost.input_grad, &cost.weight_grad}) {
          CHECK(sum_by_basis(*pass) / us == Approx(pass->compute() / us));
          CHECK(pass->exposed >= Seconds());
          CHECK(pass->uncertain >= Seconds());
        }
        const RoutedLoad load =
            kind == BlockKind::Moe ? p.blocks.routed_load(layout) : RoutedLoad{};
        Graph graph = build_block({kind, layout.sharding, layout.recipe, fusions_of(p.software)},
                                  p.model, load);
        Flops flops;
        for (const Op& op : graph.forward) flops += executed_flops(op);
        const char* format = is_quantised(layout.recipe) ? "fp8" : "bf16";
        const FlopRate peak = value_of(peak_rate(p.cluster.chip, format));
        // A stack's kernels were slowed by what ran beside them when they were measured.
        CHECK(cost.forward.multiply * p.software.compute_slowdown >= flops / peak);
      }
    }
  }
}

TEST_CASE("block cost: only recomputation recomputes, and it leaves F and W alone") {
  for (const Place& place : places()) {
    Pricing p(place.model, place.cluster, place.software);
    Strategy s = place.strategy;
    s.recompute = Recompute::None;
    const BlockLayout plain = p.layout(s, 4096);
    for (const BlockKind kind : blocks_in(p.model)) {
      const BlockCost none = p.blocks.price(kind, false, plain);
      CHECK(none.recompute.compute() == Seconds());
      for (const Recompute recompute : all_recomputes()) {
        CAPTURE(place.model, static_cast<int>(kind), to_string(recompute));
        s.recompute = recompute;
        const BlockCost& cost = p.blocks.price(kind, false, p.layout(s, 4096));
        CHECK(cost.forward.compute() == none.forward.compute());
        CHECK(cost.weight_grad.compute() == none.weight_grad.compute());
        CHECK(cost.input_grad.compute() == none.input_grad.compute());
        const Bytes kept = cost.kept.until_input_grad + cost.kept.until_weight_grad;
        CHECK(kept <= none.kept.until_input_grad + none.kept.until_weight_grad);
      }
    }
  }
}

TEST_CASE("block cost: experts on one rank exchange nothing, on more they do") {
  Pricing p("mixtral-8x7b", "h100:64", "megatron-core");
  for (const int ep : {1, 2, 4, 8}) {
    const Strategy s{.ep = ep, .dp = 64, .micro_batches = 4};
    const BlockCost& cost = p.blocks.price(BlockKind::Moe, false, p.layout(s, 4096));
    CAPTURE(ep);
    CHECK((cost.exchange.forward() > Seconds()) == (ep > 1));
    CHECK((cost.exchange.backward() > Seconds()) == (ep > 1));
  }
}

TEST_CASE("block cost: more tokens never take less time or memory") {
  for (const Place& place : places()) {
    Pricing p(place.model, place.cluster, place.software);
    for (const BlockKind kind : blocks_in(p.model)) {
      BlockCost before;
      for (const int micro_batch : {1, 2, 3, 4, 8}) {
        Strategy s = place.strategy;
        s.micro_batch = micro_batch;
        const BlockCost cost = p.blocks.price(kind, false, p.layout(s, 2048));
        CAPTURE(place.model, static_cast<int>(kind), micro_batch);
        CHECK(cost.forward.compute() >= before.forward.compute());
        CHECK(cost.input_grad.compute() >= before.input_grad.compute());
        CHECK(cost.weight_grad.compute() >= before.weight_grad.compute());
        CHECK(cost.forward.exposed >= before.forward.exposed);
        CHECK(cost.exchange.forward() >= before.exchange.forward());
        CHECK(cost.kept.until_input_grad >= before.kept.until_input_grad);
        CHECK(cost.kept.until_weight_grad >= before.kept.until_weight_grad);
        before = cost;
      }
    }
  }
}

TEST_CASE("block cost: all wait for the fullest rank, natural routing fills it more") {
  for (const char* name : {"deepseek-v3", "mixtral-8x7b", "qwen3-235b-a22b"}) {
    const SoftwareProfile software = value_of(find_software("megatron-core"));
    Pricing balanced(builtin(name), cluster_named("h100:64"), software);
    Pricing natural(builtin(name), cluster_named("h100:64"), software, Routing::Natural);
    for (const int ep : {1, 2, 8}) {
      const Strategy s{.ep = ep, .dp = 64, .micro_batches = 4};
      const BlockLayout layout = balanced.layout(s, 4096);
      const RoutedLoad even = balanced.blocks.routed_load(layout);
      const RoutedLoad uneven = natural.blocks.routed_load(layout);
      CAPTURE(name, ep);
      CHECK(even.copies.expected >= balanced.model.moe->top_k * (1 - 1e-12));
      CHECK(even.copies.expected < balanced.model.moe->top_k * 1.2);
      CHECK(uneven.copies.expected >= even.copies.expected);
      CHECK(even.received == even.copies);  // an all-to-all of copies
    }
  }
}

TEST_CASE("block cost: DeepEP brings each token to a rank once") {
  Pricing p("deepseek-v3", "h800-2048", "hai-llm");
  for (const int ep : {1, 8, 64}) {
    Strategy s = v3_strategy();
    s.ep = ep;
    const RoutedLoad load = p.blocks.routed_load(p.layout(s, 4096));
    const double fullest = load.copies.expected / 8;
    CAPTURE(ep, fullest);
    CHECK(load.received.expected <= ep * fullest * (1 + 1e-12));
    CHECK(load.received.expected <= 8 * fullest);
    // Monte-Carlo of uniform node-limited routing: 3.954 ranks of EP8, 7.492 of EP64.
    if (ep == 8) CHECK(load.received.expected / fullest == Approx(3.954).epsilon(0.01));
    if (ep == 64) CHECK(load.received.expected / fullest == Approx(7.492).epsilon(0.01));
  }
}

TEST_CASE("block cost: what is gathered along the sequence is copied where the batch comes first") {
  SoftwareProfile software = value_of(find_software("torchtitan"));
  const Strategy s{
      .tp = 8, .dp = 1, .micro_batch = 4, .sequence_parallel = true, .precision = Recipe::Bf16};
  Pricing batch(builtin("llama-3.1-8b"), cluster_named("h100:8"), software);
  software.batch_first = false;
  Pricing sequence(builtin("llama-3.1-8b"), cluster_named("h100:8"), software);
  const PassCost with =
      batch.blocks.price(BlockKind::DenseFfn, false, batch.layout(s, 8192)).forward;
  const PassCost without =
      sequence.blocks.price(BlockKind::DenseFfn, false, sequence.layout(s, 8192)).forward;
  // One gather and one scatter of 32,768 x 4,096 in 16 bits, read and written.
  const Bytes moved = 2 * 2 * 32768.0 * 4096 * 2 * byte;
  CHECK(with.stream - without.stream > moved / (3.35 * TB / sec));
  CHECK(with.stream - without.stream < 1.6 * moved / (3.35 * TB / sec));
  CHECK(with.exposed == without.exposed);
}

TEST_CASE("block cost: rows with scales of their own are gathered wide and cast by column too") {
  const SoftwareProfile software = value_of(find_software("torchtitan"));
  Pricing p(builtin("llama-3.1-8b"), cluster_named("h100:8"), software);
  const auto price = [&](Recipe recipe) {
    const Strategy s{
        .tp = 8, .dp = 1, .micro_batch = 4, .sequence_parallel = true, .precision = recipe};
    return p.blocks.price(BlockKind::DenseFfn, false, p.layout(s, 8192));
  };
  const BlockCost wide = price(Recipe::Bf16), rows = price(Recipe::Fp8Row),
                  one = price(Recipe::Fp8Tensor);
  CHECK(rows.forward.exposed == wide.forward.exposed);
  CHECK(one.forward.exposed < wide.forward.exposed);
  CHECK(rows.input_grad.stream > 1.5 * one.input_grad.stream);
}

}  // namespace narrows

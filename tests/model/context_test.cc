// SPDX-License-Identifier: Apache-2.0
// The three ways of context parallelism: the same arithmetic, other messages.
#include <catch2/catch.hpp>

#include "model/block.h"
#include "model/graph_fixture.h"

namespace narrows {
namespace {

constexpr ContextExchange kAll[] = {ContextExchange::AllGather, ContextExchange::Ring,
                                    ContextExchange::AllToAll};

Graph attention_graph(const ModelSpec& model, ContextExchange exchange, int cp,
                      Recompute recompute = Recompute::None, const Fusions& fusions = {}) {
  const Sharding sharding{.cp = cp, .sequence = 32768, .context = exchange};
  Graph graph = build_block({BlockKind::Attention, sharding, Recipe::Bf16, fusions}, model);
  differentiate(graph, recompute, fusions);
  return graph;
}

double flops(const std::vector<Op>& ops) {
  double all = 0;
  for (const Op& op : ops) all += executed_flops(op) / flop;
  return all;
}

// Bytes by kind of collective, messages of a ring counted once a step.
Bytes sent(const std::vector<Op>& ops, CollectiveKind what) {
  Bytes all;
  for (const Op& op : ops) {
    if (op.kind == OpKind::Collective && op.collective.what == what) all += op.collective.bytes;
  }
  return all;
}

}  // namespace

TEST_CASE("context parallelism: names read back, and an unknown one is none") {
  for (const ContextExchange exchange : kAll) {
    CHECK(context_exchange_of(to_string(exchange)) == exchange);
  }
  CHECK(!context_exchange_of("p2p"));
}

TEST_CASE("context parallelism: heads are spread where both kinds divide") {
  const ModelSpec model = model_named("llama-3.1-8b");  // 32 heads, 8 KV heads
  CHECK(spreads(ContextExchange::AllToAll, model.attention, 1, 8));
  CHECK(!spreads(ContextExchange::AllToAll, model.attention, 1, 16));
  CHECK(!spreads(ContextExchange::AllToAll, model.attention, 4, 4));
  CHECK(spreads(ContextExchange::Ring, model.attention, 4, 16));
  CHECK(spreads(ContextExchange::AllToAll, model_named("deepseek-v3").attention, 1, 64));
}

TEST_CASE("context parallelism: every way multiplies as much, a cp-th of one rank") {
  for (const char* name : {"llama-3.1-8b", "deepseek-v3"}) {
    const ModelSpec model = model_named(name);
    const Graph one = attention_graph(model, ContextExchange::AllGather, 1);
    for (const ContextExchange exchange : kAll) {
      const Graph graph = attention_graph(model, exchange, 8);
      CAPTURE(name, to_string(exchange));
      CHECK(flops(graph.forward) == Approx(flops(one.forward) / 8));
      CHECK(flops(graph.input_grad) == Approx(flops(one.input_grad) / 8));
      CHECK(flops(graph.weight_grad) == Approx(flops(one.weight_grad) / 8));
    }
  }
}

TEST_CASE("context parallelism: what travels for Llama 3.1 8B, 32,768 tokens over 8 ranks") {
  const ModelSpec model = model_named("llama-3.1-8b");
  const Bytes kv = 4096.0 * 2 * 8 * 128 * 2 * byte;  // a rank's own keys and values, bf16
  const Bytes q = 4096.0 * 32 * 128 * 2 * byte;

  const Graph gather = attention_graph(model, ContextExchange::AllGather, 8);
  CHECK(sent(gather.forward, CollectiveKind::AllGather) == 8 * kv);
  CHECK(sent(gather.input_grad, CollectiveKind::AllGather) == 8 * kv);  // again, for the gradient
  CHECK(sent(gather.input_grad, CollectiveKind::ReduceScatter) == 8 * kv);

  const Graph ring = attention_graph(model, ContextExchange::Ring, 8);
  CHECK(sent(ring.forward, CollectiveKind::SendRecv) == kv);         // each of seven steps
  CHECK(sent(ring.input_grad, CollectiveKind::SendRecv) == 2 * kv);  // their gradients with them

  const Graph spread = attention_graph(model, ContextExchange::AllToAll, 8);
  CHECK(sent(spread.forward, CollectiveKind::AllToAll) == q + kv + q);  // q, k, v and the output
  CHECK(sent(spread.input_grad, CollectiveKind::AllToAll) == q + kv + q);
}

TEST_CASE(
    "context parallelism: above PyTorch's attention all heads' keys travel, gradients in float") {
  const ModelSpec model = model_named("llama-3.1-8b");
  const Graph gather = attention_graph(model, ContextExchange::AllGather, 8, Recompute::None,
                                       {.stepwise_context = true});
  const Bytes kv = 4096.0 * 2 * 32 * 128 * 2 * byte;  // of 32 heads instead of 8
  CHECK(sent(gather.forward, CollectiveKind::AllGather) == 8 * kv);
  CHECK(sent(gather.input_grad, CollectiveKind::AllGather) == 8 * kv);
  CHECK(sent(gather.input_grad, CollectiveKind::ReduceScatter) == Bytes());
  CHECK(sent(gather.input_grad, CollectiveKind::SendRecv) == 2 * kv);  // each of seven steps
  const Graph plain = attention_graph(model, ContextExchange::AllGather, 8);
  CHECK(flops(gather.forward) == flops(plain.forward));
  // Seven partial outputs are merged, about three quarters of the queries each.
  CHECK(op_named(gather.forward, "merge partial attention").traffic / byte >
        7 * 0.75 * 30 * 4096 * 32 * 128);
}

TEST_CASE("context parallelism: gathered keys live in passing, recomputed attention gathers once") {
  const ModelSpec model = model_named("llama-3.1-8b");
  const Graph ring = attention_graph(model, ContextExchange::Ring, 8);
  const Graph gather = attention_graph(model, ContextExchange::AllGather, 8);
  CHECK(kept_bytes(gather).until_input_grad == kept_bytes(ring).until_input_grad);
  CHECK(kept_bytes(gather).until_weight_grad == kept_bytes(ring).until_weight_grad);
  CHECK(transient_bytes(gather).forward > transient_bytes(ring).forward);

  const Graph again = attention_graph(model, ContextExchange::AllGather, 8, Recompute::Selective);
  CHECK(sent(again.recompute, CollectiveKind::AllGather) ==
        sent(gather.forward, CollectiveKind::AllGather));
  CHECK(sent(again.input_grad, CollectiveKind::AllGather) == Bytes());
}

}  // namespace narrows

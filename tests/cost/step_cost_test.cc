// What a strategy adds to its items: FSDP, sends, pairs of runs, and what follows the pipeline.
// SPDX-License-Identifier: Apache-2.0
#include "cost/step_cost.h"

#include "cost/cost_fixture.h"

namespace narrows {
namespace {

// A step's prices with what they borrow.
struct Step {
  LayoutCost shared;
  StepCost cost;
  Step(Pricing& p, const Strategy& s, std::int64_t sequence = 4096)
      : shared(layout_cost(p.layout(s, sequence), p.items)), cost(s, shared, p.items) {}
  Step(const Step&) = delete;
  HeldParameters all() const { return cost.held().of(cost.classes()); }
};

Seconds whole(const TailCost& tail) { return tail.reduce + tail.optimizer + tail.gather; }

}  // namespace

TEST_CASE("step cost: without FSDP items cost what they cost alone") {
  Pricing p("llama-3.1-8b", "h100:64", "megatron-core");
  const Step step(p, {.pp = 4, .dp = 16, .micro_batches = 8});
  REQUIRE(step.cost.items().size() == step.cost.classes().size());
  for (std::size_t i = 0; i < step.cost.items().size(); ++i) {
    const ItemTicks& ticks = step.cost.items()[i];
    const ItemCost& item = step.cost.item(static_cast<int>(i));
    CHECK(ticks.forward == item.forward);
    CHECK(ticks.input_grad == item.input_grad);
    CHECK(ticks.weight_grad == item.weight_grad);
    CHECK(ticks.weight_grad_exposed == Tick{});
  }
  CHECK(step.cost.send() > Tick{});
}

TEST_CASE("step cost: FSDP only adds, all of it exposed, less where the stack overlaps") {
  for (const char* model : {"llama-3.1-8b", "mixtral-8x7b"}) {
    SoftwareProfile software = value_of(find_software("fsdp"));
    std::vector<std::int64_t> sums;
    for (const double overlap : {0.0, 0.5, 1.0}) {
      software.overlap_fsdp = overlap;
      Pricing p(builtin(model), cluster_named("h100:64"), software);
      const Strategy s{.dp = 64, .dp_shard = 64, .zero = 3};
      const Step step(p, s);
      Tick sum;
      for (std::size_t i = 0; i < step.cost.items().size(); ++i) {
        const ItemTicks& ticks = step.cost.items()[i];
        const ItemTicks& alone = step.shared.items[i];
        CHECK(ticks.forward - alone.forward == ticks.forward_exposed - alone.forward_exposed);
        CHECK(ticks.input_grad >= alone.input_grad);
        CHECK(ticks.weight_grad - alone.weight_grad == ticks.weight_grad_exposed);
        sum += ticks.work();
      }
      sums.push_back(sum.ns);
    }
    CHECK(sums[0] > sums[1]);
    CHECK(sums[1] >= sums[2]);
  }
}

TEST_CASE("step cost: a run's pair is its items' pairs, and the rest alone") {
  Pricing p("deepseek-v3", "h800-2048", "hai-llm");
  const Step step(p, v3_strategy());
  const auto& items = step.cost.items();
  const auto pair = [&](int a, int b) { return step.cost.pair({a, a}, {b, b}); };
  // Forward upwards, backward downwards.
  CHECK(step.cost.pair({4, 6}, {10, 12}) == pair(4, 12) + pair(5, 11) + pair(6, 10));
  CHECK(step.cost.pair({4, 6}, {12, 12}) == pair(4, 12) + items[5].forward + items[6].forward);
  CHECK(step.cost.pair({4, 4}, {10, 12}) == pair(4, 12) + items[11].input_grad +
                                                items[11].weight_grad + items[10].input_grad +
                                                items[10].weight_grad);
  CHECK(step.cost.pair({4, 3}, {4, 3}) == Tick{});
}

TEST_CASE("step cost: a pair under FSDP gathers and scatters as its halves do") {
  Pricing p("mixtral-8x7b", "h100:64", "narrows");
  Strategy s{.pp = 2, .ep = 8, .dp = 32, .micro_batches = 8, .schedule = ScheduleKind::DualPipe};
  const Step plain(p, s);
  s.zero = 3;
  s.dp_shard = 32;
  const Step sharded(p, s);
  for (const int item : {1, 5, 33}) {
    const StepCost::Run run{item, item};
    const ItemTicks& a = plain.cost.items()[static_cast<std::size_t>(item)];
    const ItemTicks& b = sharded.cost.items()[static_cast<std::size_t>(item)];
    const Tick more = b.work() - a.work();
    CAPTURE(item);
    CHECK(more > Tick{});
    CHECK(sharded.cost.pair(run, run) == plain.cost.pair(run, run) + more);
    CHECK(sharded.cost.pair_exposed(run, run) == plain.cost.pair_exposed(run, run) + more);
  }
}

TEST_CASE("step cost: from ZeRO-2 on gradients are scattered in every micro-batch") {
  // There is only a shard to accumulate in (rajbhandari2020): with many micro-batches that costs
  // more than ZeRO-1's one reduction.
  Pricing p("llama-3.1-8b", "h100:64", "fsdp");
  Strategy s{.dp = 64, .dp_shard = 64, .zero = 1};
  const Step one(p, s);
  s.zero = 2;
  const Step two(p, s);
  s.zero = 3;
  const Step three(p, s);
  for (std::size_t i = 0; i < one.cost.items().size(); ++i) {
    CHECK(two.cost.items()[i].forward == one.cost.items()[i].forward);
    CHECK(two.cost.items()[i].input_grad == one.cost.items()[i].input_grad);
    CHECK(two.cost.items()[i].weight_grad >= one.cost.items()[i].weight_grad);
    CHECK(three.cost.items()[i].weight_grad >= two.cost.items()[i].weight_grad);
  }
  // ZeRO-3 gathers too, and hides both under the backward alone.
  // The embedding has little to hide it under.
  CHECK(two.cost.items().front().weight_grad > one.cost.items().front().weight_grad);
  const TailCost a = one.cost.tail(one.all(), {}), b = two.cost.tail(two.all(), {});
  CHECK(b.reduce == Seconds());
  CHECK(b.gather == a.gather);
  CHECK(b.optimizer == a.optimizer);
}

TEST_CASE("step cost: a sharded item is whole while it runs, and so is the next one") {
  Pricing p("llama-3.1-8b", "h100:64", "fsdp");  // 218,112,000 parameters a layer
  const double layer = 218112000;
  const StepCost::Run layers{1, 4};
  const Bytes gradient = layer * size_of(p.software.gradient_dtype);
  Strategy s{.dp = 64, .dp_shard = 64, .zero = 1};
  CHECK(Step(p, s).cost.shard_buffers(layers).weights == Bytes());
  CHECK(Step(p, s).cost.shard_buffers(layers).gradients == Bytes());
  s.zero = 2;
  CHECK(Step(p, s).cost.shard_buffers(layers).weights == Bytes());
  CHECK(Step(p, s).cost.shard_buffers(layers).gradients == gradient);
  s.zero = 3;
  CHECK(Step(p, s).cost.shard_buffers(layers).weights == 2 * 2 * layer * byte);
  // Made in 16 bits, and copied to the 32 in which they travel.
  CHECK(Step(p, s).cost.shard_buffers(layers).gradients == (2 + 4) * layer * byte);
  p.software.gradient_wire_dtype = Dtype::Bf16;
  CHECK(Step(p, s).cost.shard_buffers(layers).gradients == 2 * layer * byte);
}

TEST_CASE("step cost: hybrid shards still reduce their gradients over the replicas") {
  Pricing p("llama-3.1-8b", "h100:64", "fsdp");
  Strategy s{.dp = 64, .dp_shard = 64, .zero = 3};
  const Step full(p, s);
  CHECK(full.cost.tail(full.all(), {}).reduce == Seconds());
  s.dp_shard = 8;
  const Step hybrid(p, s);
  CHECK(hybrid.cost.tail(hybrid.all(), {}).reduce > Seconds());
  // … an eighth of the model's gradient, not all of it.
  s.zero = 0;
  s.dp_shard = 1;
  const Step replicated(p, s);
  CHECK(hybrid.cost.tail(hybrid.all(), {}).reduce <
        replicated.cost.tail(replicated.all(), {}).reduce);
}

TEST_CASE("step cost: ZeRO trades reductions, gathers and the optimiser's pass") {
  Pricing p("llama-3.1-8b", "h100:64", "megatron-core");
  Strategy s{.dp = 64, .dp_shard = 1, .zero = 0};
  const Step none(p, s);
  s.dp_shard = 64;
  s.zero = 1;
  const Step one(p, s);
  const TailCost a = none.cost.tail(none.all(), {}), b = one.cost.tail(one.all(), {});
  CHECK(b.optimizer < a.optimizer);
  CHECK(a.gather == Seconds());
  CHECK(b.gather > Seconds());
  CHECK(b.reduce < a.reduce);
}

TEST_CASE("step cost: a window hides reductions up to the stack's share") {
  Pricing p("llama-3.1-8b", "h100:64", "megatron-core");
  const Step step(p, {.dp = 64, .dp_shard = 64, .zero = 1});
  const HeldParameters held = step.all();
  Seconds before = step.cost.tail(held, {}).reduce;
  for (int i = 1; i <= 60; ++i) {
    const TailCost tail = step.cost.tail(held, i * 10 * ms);
    CHECK(tail.reduce <= before);
    before = tail.reduce;
  }
  const Seconds alone = step.cost.tail(held, {}).reduce;
  CHECK(before / us == Approx((1 - p.software.overlap_gradients) * alone / us));
  CHECK(whole(step.cost.tail(held, {})) == step.cost.tail(held, {}).all());
}

TEST_CASE("step cost: gradients reduced bucket by bucket pay each bucket's latency") {
  const Strategy s{.dp = 512};
  SoftwareProfile software = value_of(find_software("nanotron"));
  std::vector<Seconds> times;
  for (const double bucket : {0.0, 400.0, 25.0}) {
    software.gradient_bucket = bucket * MB;
    Pricing p(builtin("llama-3.1-8b"), cluster_named("h100:512"), software);
    const Step step(p, s);
    times.push_back(step.cost.tail(step.all(), Seconds()).reduce);
  }
  CHECK(times[0] < times[1]);
  CHECK(times[1] < times[2]);
}

TEST_CASE("step cost: lists of slices cost the host each tensor times each rank, both ways") {
  SoftwareProfile software = value_of(find_software("nanotron"));
  Pricing listed(builtin("llama-3.1-8b"), cluster_named("h100:64"), software);
  software.shard_piece = Seconds();
  Pricing flat(builtin("llama-3.1-8b"), cluster_named("h100:64"), software);
  const Strategy s{.pp = 2, .dp = 32, .dp_shard = 32, .zero = 1};
  const Step with(listed, s), without(flat, s);
  const TailCost more = with.cost.tail(with.all(), Seconds());
  const TailCost less = without.cost.tail(without.all(), Seconds());
  // 16 layers of q, k, v in one, o, gate with up, down and two norms.
  const Seconds pieces = 16 * 6 * 32 * listed.software.shard_piece;
  CHECK((more.reduce - less.reduce) / us == Approx(pieces / us));
  CHECK((more.gather - less.gather) / us == Approx(pieces / us));
}

TEST_CASE("step cost: DeepSpeed's first ZeRO-3 gathers tensor by tensor, slower the more ranks") {
  SoftwareProfile software = value_of(find_software("deepspeed-2021"));
  for (const int ranks : {64, 1024}) {
    const Cluster cluster = cluster_named(ranks == 64 ? "a100:64" : "a100:1024");
    Pricing by_tensor(builtin("gpt3-175b"), cluster, software);
    SoftwareProfile whole = software;
    whole.gathers_by_tensor = false;
    whole.shard_piece = Seconds();
    Pricing by_layer(builtin("gpt3-175b"), cluster, whole);
    const Strategy s{.dp = ranks, .dp_shard = ranks, .zero = 3, .precision = Recipe::Fp16};
    const Step slow(by_tensor, s, 2048), quick(by_layer, s, 2048);
    const Seconds more = to_seconds(slow.cost.items()[1].work() - quick.cost.items()[1].work());
    // Four tensors, gathered twice and scattered once, each a list of `ranks` slices.
    CHECK(more > 4 * 3 * ranks * software.shard_piece);
  }
}

TEST_CASE("step cost: weights copied out of their buffers take compute, and hide nothing") {
  SoftwareProfile software = value_of(find_software("torchtitan"));
  const Strategy s{.dp = 8, .dp_shard = 8, .zero = 3};
  Pricing copies(builtin("llama-3.1-8b"), cluster_named("h100:8"), software);
  software.copies_shards = false;
  Pricing views(builtin("llama-3.1-8b"), cluster_named("h100:8"), software);
  const Step with(copies, s), without(views, s);
  const ItemTicks &a = with.cost.items()[1], &b = without.cost.items()[1];
  // A layer of 218 M parameters, 4 bytes each for F, 10 for B, at some 2.6 TB/s.
  CHECK(to_seconds(a.forward - b.forward) / ms == Approx(218e6 * 4 / 2.6e12 * 1e3).epsilon(0.2));
  CHECK(to_seconds(a.weight_grad - b.weight_grad) / ms ==
        Approx(218e6 * 10 / 2.6e12 * 1e3).epsilon(0.2));
  CHECK(a.forward_exposed == b.forward_exposed);
}

}  // namespace narrows

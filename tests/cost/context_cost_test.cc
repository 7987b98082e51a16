// SPDX-License-Identifier: Apache-2.0
// Which way of context parallelism is priced, and what of it shows.
#include "cost/collective_time.h"
#include "cost/cost_fixture.h"

namespace narrows {
namespace {

SoftwareProfile with_only(std::vector<ContextExchange> exchanges) {
  SoftwareProfile software = value_of(find_software("megatron-core"));
  software.context_parallel = std::move(exchanges);
  return software;
}

struct Passes {
  Seconds time, exposed, hidden;
};
Passes attention(Pricing& p, const Strategy& s, std::int64_t sequence) {
  const BlockCost& cost = p.blocks.price(BlockKind::Attention, false, p.layout(s, sequence));
  Passes all;
  for (const PassCost* pass :
       {&cost.forward, &cost.recompute, &cost.input_grad, &cost.weight_grad}) {
    all.time += pass->compute() + pass->exposed;
    all.exposed += pass->exposed;
    all.hidden += pass->hidden;
  }
  return all;
}

constexpr ContextExchange kAll[] = {ContextExchange::Ring, ContextExchange::AllGather,
                                    ContextExchange::AllToAll};

}  // namespace

TEST_CASE("context cost: the quickest of a stack's ways is taken, whichever comes first") {
  for (const char* name : {"llama-3.1-8b", "llama-3.1-70b"}) {
    for (const int cp : {2, 4, 8, 16}) {
      for (const std::int64_t sequence : {8192, 131072}) {
        const Strategy s{.cp = cp, .dp = 64 / cp, .precision = Recipe::Bf16};
        const Cluster cluster = cluster_named("h100:64");
        Pricing every(builtin(name), cluster, with_only({kAll[0], kAll[1], kAll[2]}));
        const Passes chosen = attention(every, s, sequence);
        Seconds least = chosen.time * 2;
        for (const ContextExchange exchange : kAll) {
          if (!spreads(exchange, every.model.attention, 1, cp)) continue;
          Pricing one(builtin(name), cluster, with_only({exchange}));
          const Passes alone = attention(one, s, sequence);
          least = min(least, alone.time);
          const auto taken = every.blocks.context_exchange(every.layout(s, sequence));
          if (taken == exchange) CHECK(alone.time == chosen.time);
        }
        CAPTURE(name, cp, sequence);
        CHECK(chosen.time == least);
      }
    }
  }
}

TEST_CASE("context cost: a ring hides under long attention, and shows under short") {
  const Strategy s{.cp = 8, .dp = 8, .precision = Recipe::Bf16};
  Pricing p(builtin("llama-3.1-8b"), cluster_named("h100:64"), with_only({ContextExchange::Ring}));
  const Passes long_one = attention(p, s, 131072), short_one = attention(p, s, 4096);
  CHECK(long_one.exposed == Seconds());
  CHECK(long_one.hidden > Seconds());
  CHECK(short_one.exposed > Seconds());
}

TEST_CASE("context cost: what is gathered or spread is exposed, a ring sends cp - 1 messages") {
  const Strategy s{.cp = 4, .dp = 2, .precision = Recipe::Bf16};
  for (const ContextExchange exchange : {ContextExchange::AllGather, ContextExchange::AllToAll}) {
    Pricing p(builtin("llama-3.1-8b"), cluster_named("h100:8"), with_only({exchange}));
    const Passes passes = attention(p, s, 32768);
    CHECK(passes.exposed > Seconds());
    CHECK(passes.hidden == Seconds());
  }
  Pricing p(builtin("llama-3.1-8b"), cluster_named("h100:8"), with_only({ContextExchange::Ring}));
  const Bytes kv = 8192.0 * 2 * 8 * 128 * 2 * byte;
  const BlockLayout layout = p.layout(s, 32768);
  const auto message = [&](Bytes bytes) {
    return collective_time({CollectiveKind::SendRecv, Axis::Cp, bytes, 0}, layout.cp, p.cluster)
        .time;
  };
  const Passes passes = attention(p, s, 32768);
  const Seconds all = 3 * (message(kv) + message(2 * kv)) * p.software.comm_slowdown;
  CHECK((passes.hidden + passes.exposed) / us == Approx(all / us));
}

}  // namespace narrows

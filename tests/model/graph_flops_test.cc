// FLOPs of the op graphs against the formula for training FLOPs per token, under any sharding, and
// against what the training trace of DeepSeek-V3 executed.
// SPDX-License-Identifier: Apache-2.0
#include "model/flops.h"
#include "model/graph_fixture.h"

namespace narrows {
namespace {

// Forward FLOPs per token of the whole model, counted on all ranks that share its tokens.
double forward_per_token(const ModelSpec& model, const Sharding& sharding) {
  const double copies = model.moe ? model.moe->top_k : 1;
  double sum = 0;
  int layer = 0;
  for (const ItemKind item : items_of(model)) {
    const bool is_layer = item == ItemKind::DenseLayer || item == ItemKind::MoeLayer;
    const bool window = is_layer && has_window(model, layer);
    layer += is_layer;
    for (const BlockKind kind : blocks_of(item, model.moe.has_value())) {
      const BlockKey key{kind, sharding, Recipe::Bf16, {}, window};
      sum += flops_of(build_block(key, model, balanced(copies, copies)).forward);
    }
  }
  return sum * sharding.tp / tokens_of(sharding);
}

void check_conserved(const std::string& name, const Sharding& sharding) {
  CAPTURE(name, sharding.tp, sharding.cp, sharding.ep, sharding.etp, sharding.micro_batch,
          sharding.sequence);
  const ModelSpec model = model_named(name);
  const FlopsRule rule{.router = true, .mtp = true};
  CHECK(3 * forward_per_token(model, sharding) ==
        Approx(training_flops_per_token(model, sharding.sequence, rule) / flop).epsilon(1e-12));
}

constexpr double kTera = 1e12;

// One layer of DeepSeek-V3 with this many expert rows a rank.
Graph v3_layer(double rows) {
  const ModelSpec model = model_named("deepseek-v3");
  Graph layer;
  for (const BlockKind kind : {BlockKind::Attention, BlockKind::Moe}) {
    const BlockKey key{kind, {.ep = 64, .sequence = 4096}, Recipe::Fp8Block, narrow_fusions()};
    const Graph block = differentiated(key, model, Recompute::None, balanced(rows / 4096, 7.39));
    for (const auto member : {&Graph::forward, &Graph::input_grad, &Graph::weight_grad}) {
      (layer.*member).insert((layer.*member).end(), (block.*member).begin(), (block.*member).end());
    }
  }
  return layer;
}

}  // namespace

TEST_CASE("op graph: forward FLOPs of one rank are a third of the training FLOPs") {
  for (const char* name :
       {"deepseek-v3", "deepseek-v2-lite", "llama-3.1-405b", "llama-3.1-8b", "gpt3-175b",
        "mixtral-8x7b", "qwen3-235b-a22b", "qwen2-57b-a14b", "glm-4.5"}) {
    check_conserved(name, {.sequence = 4096});
    check_conserved(name, {.micro_batch = 3, .sequence = 2048});
  }
}

TEST_CASE("op graph: a sliding window is counted as the formula counts it") {
  for (const char* name : {"llama-3.1-8b", "mixtral-8x7b"}) {
    ModelSpec model = model_named(name);
    for (const int window : {128, 1024, 3000, 4096, 8192}) {
      for (const int every : {1, 2, 6}) {
        model.attention.window = window;
        model.attention.window_every = every;
        CAPTURE(name, window, every);
        for (const int cp : {1, 4}) {
          const Sharding sharding{.cp = cp, .sequence = 4096};
          CHECK(3 * forward_per_token(model, sharding) ==
                Approx(training_flops_per_token(model, 4096, {.router = true, .mtp = true}) / flop)
                    .epsilon(1e-12));
        }
      }
    }
  }
}

TEST_CASE("op graph: context and expert parallelism conserve FLOPs") {
  for (const char* name : {"deepseek-v3", "llama-3.1-405b", "gpt3-175b"}) {
    for (const int cp : {2, 4, 16}) check_conserved(name, {.cp = cp, .sequence = 8192});
  }
  for (const char* name : {"deepseek-v3", "mixtral-8x7b", "qwen3-235b-a22b"}) {
    for (const int ep : {2, 8}) check_conserved(name, {.ep = ep, .sequence = 4096});
    check_conserved(name, {.cp = 2, .ep = 4, .sequence = 4096});
  }
}

TEST_CASE("op graph: tensor parallelism conserves FLOPs where nothing is replicated") {
  for (const bool sequence_parallel : {false, true}) {
    for (const int tp : {2, 4, 8}) {
      check_conserved("llama-3.1-405b",
                      {.tp = tp, .sequence_parallel = sequence_parallel, .sequence = 4096});
      check_conserved("llama-3.1-8b", {.tp = tp,
                                       .sequence_parallel = sequence_parallel,
                                       .cp = 2,
                                       .micro_batch = 2,
                                       .sequence = 4096});
    }
  }
  // Experts see distinct tokens only under sequence parallelism; gathered over etp, each rank
  // multiplies its part of all of them.
  check_conserved("mixtral-8x7b", {.tp = 8, .sequence_parallel = true, .ep = 8, .sequence = 4096});
  check_conserved("mixtral-8x7b",
                  {.tp = 4, .sequence_parallel = true, .ep = 2, .etp = 4, .sequence = 4096});
  check_conserved("qwen3-235b-a22b",
                  {.tp = 4, .sequence_parallel = true, .ep = 16, .sequence = 4096});
}

TEST_CASE("op graph: a vocabulary that tensor parallelism does not divide is padded") {
  const ModelSpec model = model_named("gpt3-175b");  // 50257 rows
  for (const int tp : {2, 4, 8}) {
    const Graph head = build_block({BlockKind::Head,
                                    {.tp = tp, .sequence_parallel = true, .sequence = 2048},
                                    Recipe::Bf16,
                                    {}},
                                   model);
    const double columns = static_cast<double>(op_named(head.forward, "head").matmul.n) * tp;
    CHECK(columns >= model.vocab);
    CHECK(columns < model.vocab + tp);
  }
}

TEST_CASE("op graph: latent projections are what tensor parallelism replicates") {
  const ModelSpec model = model_named("deepseek-v3");
  const auto attention = [&](int tp) {
    return flops_of(build_block({BlockKind::Attention,
                                 {.tp = tp, .sequence_parallel = true, .sequence = 4096},
                                 Recipe::Bf16,
                                 {}},
                                model)
                        .forward);
  };
  const double down = 2.0 * 4096 * 7168 * (1536 + 576);
  for (const int tp : {2, 8}) {
    CHECK(tp * attention(tp) - attention(1) == Approx((tp - 1) * down).epsilon(1e-9));
  }
}

TEST_CASE("op graph: backward multiplies twice what forward does, its attention five times") {
  for (const char* name : {"deepseek-v3", "llama-3.1-8b", "gpt3-175b", "mixtral-8x7b"}) {
    const ModelSpec model = model_named(name);
    for (const BlockKind kind : {BlockKind::Attention, BlockKind::DenseFfn, BlockKind::Moe,
                                 BlockKind::Head, BlockKind::MtpEntry}) {
      if (kind == BlockKind::Moe && !model.moe) continue;
      const BlockKey key{kind, {.sequence = 2048}, Recipe::Bf16, {}};
      const Graph graph = differentiated(key, model, Recompute::None, balanced(2, 2));
      const double forward = matmul_flops_of(graph.forward);
      CHECK(matmul_flops_of(graph.input_grad) == forward);
      CHECK(matmul_flops_of(graph.weight_grad) == forward);
      CHECK(graph.recompute.empty());
      if (kind != BlockKind::Attention) continue;
      const double qk = model.attention.qk_dim(), v = model.attention.value_dim();
      const double core = flops_of(graph.forward) - forward;
      CHECK(flops_of(graph.input_grad) - forward ==
            Approx(core * (3 * qk + 2 * v) / (qk + v)).epsilon(1e-12));
    }
  }
}

TEST_CASE("op graph: four layers of DeepSeek-V3 execute the 66.89 TFLOP of its training trace") {
  // Expert rows of the trace's rank 0, padded to 128 an expert: forward, and backward of another
  // micro-batch.
  const double forward_rows[] = {31104, 30976, 36864, 31104};
  const double backward_rows[] = {34688, 32512, 32896, 28416};
  double executed = 0;
  for (int layer = 0; layer < 4; ++layer) {
    executed += flops_of(v3_layer(forward_rows[layer]).forward);
    const Graph back = v3_layer(backward_rows[layer]);
    executed += flops_of(back.input_grad) + flops_of(back.weight_grad);
  }
  CHECK(executed / kTera == Approx(66.89).margin(0.005));
  // As models are counted: eight experts a token, backward twice forward.
  CHECK(4 * 3 * flops_of(v3_layer(8 * 4096).forward) / kTera == Approx(65.78).margin(0.005));
}

TEST_CASE("op graph: ranks that share the vocabulary's table add what each looked up") {
  const ModelSpec model = model_named("llama-3.1-8b");
  for (const bool sequence_parallel : {false, true}) {
    const Graph graph =
        differentiated({BlockKind::Embedding,
                        {.tp = 8, .sequence_parallel = sequence_parallel, .sequence = 4096},
                        Recipe::Bf16,
                        {}},
                       model, Recompute::None);
    REQUIRE(graph.forward.size() == 2);
    const CollectiveShape& sum = graph.forward.back().collective;
    CHECK(sum.what ==
          (sequence_parallel ? CollectiveKind::ReduceScatter : CollectiveKind::AllReduce));
    CHECK(sum.bytes == 2.0 * 4096 * 4096 * byte);
    CHECK(graph.tensors[static_cast<std::size_t>(graph.output)].rows.expected ==
          (sequence_parallel ? 512 : 4096));
  }
}

}  // namespace narrows

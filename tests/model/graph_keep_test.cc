// Activation memory against published formulas: korthikanti2022's bytes per layer, and the list of
// what DeepSeek-V3 keeps per token and layer.
// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "model/graph_fixture.h"

namespace narrows {
namespace {

// Bytes kept per token of a layer, from F on.
double kept_per_token(const ModelSpec& model, const std::vector<BlockKind>& blocks,
                      const BlockKey& like, Recompute recompute, const RoutedLoad& load = {}) {
  Bytes sum;
  for (const BlockKind kind : blocks) {
    BlockKey key = like;
    key.kind = kind;
    const KeptBytes kept = kept_bytes(differentiated(key, model, recompute, load));
    sum += kept.until_input_grad + kept.until_weight_grad;
  }
  return sum / byte / tokens_of(like.sharding);
}

// GPT-3's layer with unfused attention, as korthikanti2022 counts it.
struct Gpt {
  double s = 2048, h = 12288, a = 96;
  double layer(int tp, bool sequence_parallel, Recompute recompute) const {
    Fusions unfused;
    unfused.attention = false;
    return kept_per_token(model_named("gpt3-175b"), {BlockKind::Attention, BlockKind::DenseFfn},
                          {BlockKind::Attention,
                           {.tp = tp, .sequence_parallel = sequence_parallel, .sequence = 2048},
                           Recipe::Bf16,
                           unfused},
                          recompute);
  }
  // What we do not model: dropout masks after attention and after the MLP, a byte an element each,
  // outside of tensor-parallel regions.
  double masks(double t) const { return 2 * h / t; }
  // What the paper does not count: a float per head of the fused kernel's statistics.
  double statistics(double t) const { return 4 * a / t; }
};

// DeepSeek-V3's MoE layer on EP64, per token.
double v3_layer(Recompute recompute, const Fusions& fusions, Recipe recipe) {
  return kept_per_token(model_named("deepseek-v3"), {BlockKind::Attention, BlockKind::Moe},
                        {BlockKind::Attention, {.ep = 64, .sequence = 4096}, recipe, fusions},
                        recompute, balanced(8, 7.39));
}

}  // namespace

TEST_CASE("activations: a GPT layer keeps korthikanti2022's sbh(34 + 5as/h)") {
  const Gpt gpt;
  CHECK(gpt.layer(1, false, Recompute::None) + gpt.masks(1) - gpt.statistics(1) ==
        Approx(gpt.h * (34 + 5 * gpt.a * gpt.s / gpt.h)).epsilon(1e-12));
}

TEST_CASE("activations: op by op, a Llama layer keeps its input, q, v, attention, gate and down") {
  const ModelSpec model = model_named("llama-3.1-8b");
  const double h = 4096, kv = 1024, ffn = 14336, heads = 32;
  CHECK(kept_per_token(model, {BlockKind::Attention, BlockKind::DenseFfn},
                       {BlockKind::Attention, {.sequence = 8192}, Recipe::Bf16, eager_fusions()},
                       Recompute::Selective) ==
        Approx(2 * (h + h + kv + h + ffn + h) + 4 * heads).epsilon(1e-12));
}

TEST_CASE("activations: op by op, every second matmul of a layer runs again, attention does not") {
  const ModelSpec model = model_named("llama-3.1-8b");
  std::vector<std::string> again;
  for (const BlockKind kind : {BlockKind::Attention, BlockKind::DenseFfn}) {
    const Graph graph = differentiated({kind, {.sequence = 8192}, Recipe::Bf16, eager_fusions()},
                                       model, Recompute::Selective);
    for (const Op& op : graph.recompute) {
      CHECK(op.kind != OpKind::Attention);
      if (op.kind == OpKind::Matmul) again.push_back(op.name);
    }
  }
  CHECK(again == std::vector<std::string>{"k", "o_proj", "ffn up"});
}

TEST_CASE("activations: tensor parallelism leaves sbh(10 + 24/t + 5as/ht)") {
  const Gpt gpt;
  for (const int t : {2, 8}) {
    CHECK(gpt.layer(t, false, Recompute::None) + gpt.masks(1) - gpt.statistics(t) ==
          Approx(gpt.h * (10 + 24.0 / t + 5 * gpt.a * gpt.s / (gpt.h * t))).epsilon(1e-12));
  }
}

TEST_CASE("activations: sequence parallelism divides all by t") {
  // The inputs of the two column-parallel layers are gathered again for W.
  const Gpt gpt;
  for (const int t : {2, 8}) {
    const double paper = gpt.h / t * (34 + 5 * gpt.a * gpt.s / gpt.h);
    const double ours = gpt.layer(t, true, Recompute::None) + gpt.masks(t) - gpt.statistics(t);
    CHECK(ours == Approx(paper).epsilon(1e-12));
  }
}

TEST_CASE("activations: selective recomputation keeps 34 sbh/t, full 2 sbh") {
  const Gpt gpt;
  CHECK(gpt.layer(1, false, Recompute::Selective) + gpt.masks(1) ==
        Approx(34 * gpt.h).epsilon(1e-12));
  for (const int t : {2, 8}) {
    CHECK(gpt.layer(t, true, Recompute::Selective) + gpt.masks(t) ==
          Approx(34 * gpt.h / t).epsilon(1e-12));
  }
  // Each block keeps its input here; of a layer only the first one counts (item_cost.h).
  CHECK(gpt.layer(1, false, Recompute::Full) == Approx(2 * 2 * gpt.h).epsilon(1e-12));
}

TEST_CASE("activations: DeepSeek-V3 keeps its published list, tensor by tensor") {
  std::map<std::string, double> kept;
  double total = 0;
  for (const BlockKind kind : {BlockKind::Attention, BlockKind::Moe}) {
    const Graph graph =
        differentiated({kind, {.ep = 64, .sequence = 4096}, Recipe::Fp8Block, narrow_fusions()},
                       model_named("deepseek-v3"), Recompute::V3, balanced(8, 7.39));
    for (const auto* ids : {&graph.kept_for_input, &graph.kept_for_weight}) {
      for (const TensorId id : *ids) {
        const Tensor& tensor = graph.tensors[static_cast<std::size_t>(id)];
        const double bytes = bytes_bound(tensor) / byte / 4096;
        kept[(kind == BlockKind::Moe ? "moe " : "attention ") + tensor.name] += bytes;
        total += bytes;
      }
    }
  }
  // Bytes a token. The list counts 25,088 for the attention output, 512 of them scales of its
  // E5M6 tiles, and 830 of metadata; neither is a tensor here.
  const std::map<std::string, double> listed = {{"attention residual", 14336},
                                                {"attention q_a", 3072},
                                                {"attention kv_a", 1152},
                                                {"attention attention out", 25088 - 512},
                                                {"attention log-sum-exp", 512},
                                                {"moe residual", 14336},
                                                {"moe router", 1024},
                                                {"moe routing", 96},
                                                {"moe received tokens", 7.39 * 7392},
                                                {"moe expert gate_up kept", 33792},
                                                {"moe shared gate_up kept", 4224}};
  for (const auto& [name, bytes] : kept) {
    CAPTURE(name, bytes);
    REQUIRE(listed.count(name) == 1);
    CHECK(bytes == Approx(listed.at(name)).epsilon(1e-9));
  }
  CHECK(kept.size() == listed.size());
  CHECK(total + 512 + 830 == Approx(153.1e3).epsilon(0.001));
}

TEST_CASE("activations: without DeepSeek's measures a V3 layer keeps 449 KB a token") {
  // All intermediates in bf16, permutation and probabilities fused.
  CHECK(v3_layer(Recompute::None, {}, Recipe::Bf16) / 1e3 == Approx(449).epsilon(0.10));
  // Norms and up-projections recomputed save 33 + 131 KB of that; the SwiGLU outputs are another
  // 37 KB.
  const double saved =
      v3_layer(Recompute::None, {}, Recipe::Bf16) - v3_layer(Recompute::V3, {}, Recipe::Bf16);
  CAPTURE(saved);
  CHECK(saved > 164e3);
}

TEST_CASE("activations: what v3 makes again is what the stack names") {
  const auto saved = [](V3Modules modules) {
    Fusions fusions;
    fusions.v3 = modules;
    return v3_layer(Recompute::None, fusions, Recipe::Bf16) -
           v3_layer(Recompute::V3, fusions, Recipe::Bf16);
  };
  // Of 128 heads q and the assembled k, 192 columns each, and what kv_b made, 256 with v, come back
  // from latents that are kept anyway.
  CHECK(saved(V3Modules::UpProjections) == Approx(128.0 * (192 + 192 + 256) * 2));
  // Norms of the residual stream (twice 14,336 bytes) and of the latents, and SwiGLU.
  const double rest = saved(V3Modules::NormsAndActivation);
  CHECK(rest > 2 * 14336);
  CHECK(saved(V3Modules::All) >= saved(V3Modules::UpProjections) + rest);
}

TEST_CASE("activations: projections that are kept do not run again") {
  const ModelSpec model = model_named("llama-3.1-8b");
  const auto attention = [&](bool keeps) {
    Fusions fusions;
    fusions.keeps_projections = keeps;
    return differentiated({BlockKind::Attention, {.sequence = 4096}, Recipe::Bf16, fusions}, model,
                          Recompute::Full);
  };
  const Graph again = attention(false), kept = attention(true);
  // 32 query heads and 8 of keys and of values, 128 columns each.
  const double columns = (32 + 2 * 8) * 128;
  CHECK(matmul_flops_of(again.recompute) - matmul_flops_of(kept.recompute) ==
        Approx(2 * 4096.0 * 4096 * columns));
  CHECK((kept_bytes(kept).until_input_grad - kept_bytes(again).until_input_grad) / byte ==
        Approx(4096 * columns * 2));
}

TEST_CASE("activations: of a quantised input that was gathered a rank keeps its own share") {
  const ModelSpec model = model_named("llama-3.1-8b");
  Fusions narrow;
  narrow.quantised_activations = true;
  const auto kept = [&](int tp, const Fusions& fusions) {
    const BlockKey key{BlockKind::DenseFfn,
                       {.tp = tp, .sequence_parallel = tp > 1, .sequence = 4096},
                       Recipe::Fp8Tensor,
                       fusions};
    const KeptBytes bytes = kept_bytes(differentiated(key, model, Recompute::None));
    return bytes.until_input_grad + bytes.until_weight_grad;
  };
  // Everything is a share of what one rank would keep.
  CHECK(4 * kept(4, narrow) / byte == Approx(kept(1, narrow) / byte).epsilon(1e-9));
  // A stack that keeps what it gathered keeps the whole input in 8 bits on each rank instead.
  Fusions gathered = narrow;
  gathered.keeps_gathered = true;
  CHECK((kept(4, gathered) - kept(4, narrow)) / byte == Approx(4096 * 4096 * (1 - 1.0 / 4)));
  // W gathers it again.
  const Graph graph = differentiated({BlockKind::DenseFfn,
                                      {.tp = 4, .sequence_parallel = true, .sequence = 4096},
                                      Recipe::Fp8Tensor,
                                      narrow},
                                     model, Recompute::None);
  CHECK(std::count_if(graph.weight_grad.begin(), graph.weight_grad.end(), [](const Op& op) {
          return op.kind == OpKind::Collective && op.collective.what == CollectiveKind::AllGather;
        }) == 1);
}

TEST_CASE(
    "activations: a loss in one kernel, or Megatron's, writes its gradient over what it kept") {
  const ModelSpec model = model_named("llama-3.1-8b");
  const double logits = 4096.0 * 128256;
  const auto at_once = [&](bool fused, bool parallel) {
    Fusions fusions;
    fusions.loss = fused;
    fusions.parallel_loss = parallel;
    const Graph graph = differentiated({BlockKind::Head, {.sequence = 4096}, Recipe::Bf16, fusions},
                                       model, Recompute::None);
    const KeptBytes kept = kept_bytes(graph);
    const Bytes all =
        kept.until_input_grad + kept.until_weight_grad + transient_bytes(graph).backward;
    return all / byte / logits;
  };
  // The rest, of the hidden size, is a twentieth of a byte a logit.
  // In 16 bits, once. A float softmax that becomes its gradient, and that in 16 bits. Two gradients
  // in float beside it, the second of them cast last.
  CHECK(at_once(true, true) == Approx(2).margin(0.3));
  CHECK(at_once(false, true) == Approx(4 + 2).margin(0.3));
  CHECK(at_once(false, false) == Approx(4 + 4 + 4).margin(0.3));
}

TEST_CASE("activations: beside what is kept a pass needs room for what lives at once") {
  // A layer's FFN of Llama 3.1 8B, 4,096 tokens, nothing fused away: forward, the projection down
  // holds its output while the activation before it is kept already.
  const ModelSpec model = model_named("llama-3.1-8b");
  const double rows = 4096, hidden = 4096;
  const Graph none = differentiated({BlockKind::DenseFfn, {.sequence = 4096}, Recipe::Bf16, {}},
                                    model, Recompute::None);
  CHECK(transient_bytes(none).remade == Bytes());
  CHECK(transient_bytes(none).forward / byte <= 3 * rows * hidden * 2);
  const Graph full = differentiated({BlockKind::DenseFfn, {.sequence = 4096}, Recipe::Bf16, {}},
                                    model, Recompute::Full);
  // Made again: what the first graph keeps, but for the input.
  const KeptBytes kept = kept_bytes(none);
  CHECK(transient_bytes(full).remade / byte ==
        Approx((kept.until_input_grad + kept.until_weight_grad) / byte - rows * hidden * 2));
  // The same gradients are there at once, whether or not their operands were made again.
  CHECK(transient_bytes(full).backward / byte ==
        Approx((transient_bytes(full).remade + transient_bytes(none).backward) / byte));
}

TEST_CASE("activations: scores are kept as wide as the stack says") {
  const ModelSpec model = model_named("gpt3-175b");
  const auto kept = [&](double score) {
    Fusions fusions;
    fusions.attention = false;
    fusions.score_bytes = score;
    return kept_per_token(model, {BlockKind::Attention},
                          {BlockKind::Attention, {.sequence = 2048}, Recipe::Bf16, fusions},
                          Recompute::None);
  };
  CHECK(kept(5) - kept(2) == Approx(3.0 * 96 * 2048));
}

}  // namespace narrows

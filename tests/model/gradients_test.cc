// Laws of the derived passes: whatever is recomputed, every gradient finds what it needs.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "model/graph_fixture.h"

namespace narrows {
namespace {

bool holds(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Replays a micro-batch and reports what a pass reads that neither was kept nor is made again.
// What is kept in a narrower copy counts as available. W runs later than I: it sees only what is
// kept until W and what I hands over.
class Replay {
 public:
  explicit Replay(const Graph& graph) : graph_(graph) {}

  std::vector<std::string> missing() {
    std::set<TensorId> now(graph_.kept_for_input.begin(), graph_.kept_for_input.end());
    now.insert(graph_.kept_for_weight.begin(), graph_.kept_for_weight.end());
    // The second half of a layer may start from what the first half makes again.
    if (graph_.second_half && !graph_.recompute.empty()) now.insert(graph_.input);
    for (const Op& op : graph_.recompute) {
      for (const TensorId id : op.inputs) require(now, id, "recompute of " + op.name);
      now.insert(op.outputs.begin(), op.outputs.end());
    }
    for (const Op& op : graph_.input_grad) {
      for (const TensorId id : op.input_grad_needs) require(now, id, "I of " + op.name);
    }
    std::set<TensorId> later(graph_.kept_for_weight.begin(), graph_.kept_for_weight.end());
    later.insert(graph_.handed_to_weight.begin(), graph_.handed_to_weight.end());
    for (const Op& op : graph_.weight_grad) {
      for (const TensorId id : op.weight_grad_needs) require(later, id, "W of " + op.name);
      if (op.kind != OpKind::Collective) continue;
      for (const TensorId id : op.inputs) require(later, id, op.name + " before W");
      later.insert(op.outputs.begin(), op.outputs.end());
    }
    return missing_;
  }

 private:
  void require(const std::set<TensorId>& available, TensorId id, const std::string& who) {
    const Tensor& tensor = graph_.tensors[static_cast<std::size_t>(id)];
    if (available.count(id) != 0) return;
    if (tensor.kept_as != kNoTensor && available.count(tensor.kept_as) != 0) return;
    missing_.push_back(who + " reads " + tensor.name);
  }

  const Graph& graph_;
  std::vector<std::string> missing_;
};

struct Variant {
  std::string model;
  BlockKey key;
};

std::vector<Fusions> stacks() {
  Fusions plain;
  Fusions none{false, false, false, false, false, false, false, false, false};
  Fusions dispatch;
  dispatch.quantised_dispatch = true;
  Fusions keeps;
  keeps.quantised_activations = true;
  return {plain, none, narrow_fusions(), dispatch, keeps, eager_fusions()};
}

// Blocks of several models under several shardings, recipes and stacks.
template <typename Check>
void for_all_blocks(Check check) {
  for (const char* name : {"deepseek-v3", "deepseek-v2-lite", "llama-3.1-8b", "gpt3-175b",
                           "mixtral-8x7b", "qwen3-235b-a22b", "qwen2-57b-a14b"}) {
    const ModelSpec model = model_named(name);
    for (const BlockKind kind : {BlockKind::Attention, BlockKind::DenseFfn, BlockKind::Moe,
                                 BlockKind::Embedding, BlockKind::Head, BlockKind::MtpEntry}) {
      if (kind == BlockKind::Moe && !model.moe) continue;
      if (kind == BlockKind::DenseFfn && model.ffn == 0) continue;
      for (const Sharding& sharding :
           {Sharding{.sequence = 2048},
            Sharding{.tp = 4, .sequence_parallel = true, .ep = 2, .etp = 2, .sequence = 2048},
            Sharding{.tp = 2, .cp = 2, .micro_batch = 2, .sequence = 4096},
            Sharding{.cp = 4, .sequence = 4096, .context = ContextExchange::Ring},
            Sharding{.tp = 2, .cp = 2, .sequence = 4096, .context = ContextExchange::AllToAll}}) {
        for (const Recipe recipe : {Recipe::F32, Recipe::Bf16, Recipe::Fp8Block, Recipe::Mxfp8}) {
          for (const Fusions& fusions : stacks())
            check(model, BlockKey{kind, sharding, recipe, fusions});
        }
      }
    }
  }
}

Bytes all_kept(const Graph& graph) {
  const KeptBytes kept = kept_bytes(graph);
  return kept.until_input_grad + kept.until_weight_grad;
}

std::string words(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += line + "; ";
  return all;
}

}  // namespace

TEST_CASE("gradients: every gradient finds what it needs, kept or recomputed") {
  std::set<std::string> wrong;
  for_all_blocks([&](const ModelSpec& model, const BlockKey& key) {
    for (const Recompute recompute : all_recomputes()) {
      const Graph graph = differentiated(key, model, recompute, balanced(2, 1.8));
      const std::vector<std::string> missing = Replay(graph).missing();
      if (!missing.empty())
        wrong.insert(model.name + ", recompute " + to_string(recompute) + ": " + words(missing));
    }
  });
  for (const std::string& line : wrong) FAIL_CHECK(line);
}

TEST_CASE("gradients: nothing is kept twice, and none recomputes nothing") {
  for_all_blocks([](const ModelSpec& model, const BlockKey& key) {
    for (const Recompute recompute : all_recomputes()) {
      const Graph graph = differentiated(key, model, recompute, balanced(2, 1.8));
      std::set<TensorId> seen;
      bool twice = false;
      for (const auto* ids :
           {&graph.kept_for_input, &graph.kept_for_weight, &graph.handed_to_weight}) {
        for (const TensorId id : *ids) twice = twice || !seen.insert(id).second;
      }
      if (twice) FAIL_CHECK(model.name << " keeps a tensor twice under " << to_string(recompute));
      if (recompute == Recompute::None && !graph.recompute.empty())
        FAIL_CHECK(model.name << " recomputes under none");
    }
  });
}

TEST_CASE("gradients: recomputing keeps less, full the least") {
  std::set<std::string> wrong;
  for_all_blocks([&](const ModelSpec& model, const BlockKey& key) {
    const auto kept = [&](Recompute recompute) {
      return all_kept(differentiated(key, model, recompute, balanced(2, 1.8)));
    };
    const Bytes none = kept(Recompute::None), selective = kept(Recompute::Selective),
                v3 = kept(Recompute::V3), full = kept(Recompute::Full);
    if (selective <= none && v3 <= none && full <= selective && full <= v3) return;
    wrong.insert(
        fmt::format("{} block {} {} narrow kept {} sent {}: none {:.1f} selective {:.1f} v3 {:.1f} "
                    "full {:.1f} MB",
                    model.name, static_cast<int>(key.kind), to_string(key.recipe),
                    key.fusions.quantised_activations, key.fusions.quantised_dispatch, none / MB,
                    selective / MB, v3 / MB, full / MB));
  });
  for (const std::string& line : wrong) FAIL_CHECK(line);
}

TEST_CASE("gradients: full recomputation keeps the input of the block alone") {
  for_all_blocks([](const ModelSpec& model, const BlockKey& key) {
    const Graph graph = differentiated(key, model, Recompute::Full, balanced(2, 1.8));
    if (graph.input == kNoTensor) return;
    const KeptBytes kept = kept_bytes(graph);
    const Tensor& input = graph.tensors[static_cast<std::size_t>(graph.input)];
    if (kept.until_input_grad == bytes_bound(input) && kept.until_weight_grad == Bytes()) return;
    FAIL_CHECK(model.name << " keeps more than its input");
  });
}

TEST_CASE("gradients: what must be recomputed only for I need not be kept until W") {
  // A norm's output is remade from the residual stream; W reads the remade tensor, not the stream.
  const ModelSpec model = model_named("llama-3.1-8b");
  const BlockKey key{BlockKind::DenseFfn, {.sequence = 2048}, Recipe::Bf16, {}};
  const Graph graph = differentiated(key, model, Recompute::V3);
  CHECK(holds(graph.kept_for_input, graph.input));
  CHECK_FALSE(holds(graph.kept_for_weight, graph.input));
}

TEST_CASE("gradients: selective recomputation makes the scores again, softmax and all") {
  const ModelSpec model = model_named("gpt3-175b");
  Fusions unfused;
  unfused.attention = false;
  const BlockKey key{BlockKind::Attention, {.tp = 8, .sequence = 2048}, Recipe::Fp16, unfused};
  const Graph graph = differentiated(key, model, Recompute::Selective);
  REQUIRE(graph.recompute.size() == 2);
  CHECK(graph.recompute[0].kind == OpKind::Attention);
  CHECK(graph.recompute[1].name == "softmax");
  // Softmax reads and writes, dropout reads and writes and writes a mask: 9 bytes for each of
  // 2048 x 2048 scores of 12 heads, and 11 in backward.
  const double scores = 2048.0 * 2048 * 12;
  CHECK(graph.recompute[1].traffic == 9 * scores * byte);
  const auto softmax = std::find_if(graph.input_grad.begin(), graph.input_grad.end(),
                                    [](const Op& op) { return op.inside_attention; });
  REQUIRE(softmax != graph.input_grad.end());
  CHECK(softmax->traffic / byte == Approx(11 * scores));
}

TEST_CASE("gradients: biases cost a pass over the output gradient, which casts take along") {
  ModelSpec model = model_named("gpt3-175b");
  const auto passes = [&](Recipe recipe) {
    const BlockKey key{BlockKind::DenseFfn, {.tp = 8, .sequence = 2048}, recipe, {}};
    double bytes = 0;
    for (const Op& op : differentiated(key, model, Recompute::None).weight_grad) {
      if (op.name.starts_with("d bias")) bytes += op.traffic / byte;
    }
    return bytes;
  };
  // Up gives 4 h / 8 columns, down h.
  CHECK(passes(Recipe::Bf16) == 2048.0 * (4 * 12288 / 8 + 12288) * 2);
  CHECK(passes(Recipe::Fp8Tensor) == 0);
  model.linear_bias = false;
  CHECK(passes(Recipe::Bf16) == 0);
}

TEST_CASE("gradients: a loss that ranks share reads and writes the logits over and over") {
  const ModelSpec model = model_named("gpt3-175b");
  Fusions steps;
  steps.loss = false;
  const auto bytes_a_logit = [&](bool parallel) {
    steps.parallel_loss = parallel;
    const BlockKey key{BlockKind::Head, {.sequence = 2048}, Recipe::Bf16, steps};
    const Graph graph = differentiated(key, model, Recompute::None);
    double forward = 0, backward = 0;
    const auto is_loss = [](const Op& op) {
      return op.kind == OpKind::Loss || op.name == "logits to float" ||
             op.name == "steps of the loss";
    };
    for (const Op& op : graph.forward) forward += is_loss(op) ? op.traffic / byte : 0;
    for (const Op& op : graph.input_grad) backward += is_loss(op) ? op.traffic / byte : 0;
    const double logits = 2048.0 * model.vocab;
    return std::pair(forward / logits, backward / logits);
  };
  CHECK(bytes_a_logit(true) == std::pair(38.0, 14.0));
  CHECK(bytes_a_logit(false) == std::pair(14.0, 14.0));
}

TEST_CASE("attention: packed samples attend to themselves only") {
  ModelSpec model = model_named("llama-3.1-8b");
  const BlockKey key{BlockKind::Attention, {.micro_batch = 2, .sequence = 4096}, Recipe::Bf16, {}};
  const auto attended = [&] {
    for (const Op& op : build_block(key, model).forward) {
      if (op.kind == OpKind::Attention) return op.attention;
    }
    return AttentionShape{};
  };
  const double whole = 2.0 * 4096 * 4096;
  CHECK(attended().batch * static_cast<double>(attended().queries * attended().keys) == whole);
  model.packed_samples = 256;
  CHECK(attended().batch == 2 * 16);
  CHECK(attended().batch * static_cast<double>(attended().queries * attended().keys) == whole / 16);
  model.packed_samples = 8192;
  CHECK(attended().keys == 4096);
}

TEST_CASE("gradients: communication is mirrored") {
  const ModelSpec model = model_named("deepseek-v3");
  for (const BlockKind kind : {BlockKind::Attention, BlockKind::DenseFfn, BlockKind::Moe}) {
    const BlockKey key{kind,
                       {.tp = 4, .sequence_parallel = true, .cp = 2, .ep = 8, .sequence = 8192},
                       Recipe::Fp8Block,
                       narrow_fusions()};
    const Graph graph = differentiated(key, model, Recompute::None, balanced(8, 4));
    std::vector<CollectiveShape> forward, backward;
    for (const Op& op : graph.forward) {
      if (op.kind == OpKind::Collective) forward.push_back(op.collective);
    }
    for (const Op& op : graph.input_grad) {
      // Keys and values are gathered again: no mirror.
      const bool again = op.collective.axis == Axis::Cp && op.name == "cp gather" &&
                         op.collective.what == CollectiveKind::AllGather;
      if (op.kind == OpKind::Collective && !again) backward.push_back(op.collective);
    }
    REQUIRE(forward.size() == backward.size());
    std::reverse(backward.begin(), backward.end());
    for (std::size_t i = 0; i < forward.size(); ++i) {
      CHECK(forward[i].axis == backward[i].axis);
      CHECK(forward[i].tokens == backward[i].tokens);
      if (forward[i].what == CollectiveKind::AllGather)
        CHECK(backward[i].what == CollectiveKind::ReduceScatter);
      if (forward[i].what == CollectiveKind::ReduceScatter)
        CHECK(backward[i].what == CollectiveKind::AllGather);
      if (forward[i].axis != Axis::Ep) CHECK(forward[i].bytes == backward[i].bytes);
    }
  }
}

TEST_CASE("gradients: where kernels work in f32, what the recipe rounds travels rounded") {
  const ModelSpec model = model_named("deepseek-v3");
  Fusions wide;
  wide.wide = true;
  const auto messages = [&](Recipe recipe, const Fusions& fusions) {
    const BlockKey key{BlockKind::Moe,
                       {.tp = 4, .sequence_parallel = true, .ep = 8, .etp = 2, .sequence = 8192},
                       recipe,
                       fusions};
    const Graph graph = differentiated(key, model, Recompute::None, balanced(8, 4));
    std::map<std::string, double> bytes;
    for (const std::vector<Op>* ops : {&graph.forward, &graph.input_grad}) {
      for (const Op& op : *ops) {
        if (op.kind != OpKind::Collective) continue;
        bytes[op.name + (ops == &graph.forward ? "" : " back")] = op.collective.bytes / byte;
      }
    }
    return bytes;
  };
  const auto halves = messages(Recipe::Bf16, {}), floats = messages(Recipe::F32, wide);
  const auto bf16 = messages(Recipe::Bf16, wide), fp8 = messages(Recipe::Fp8Block, wide);
  const std::set<std::string> sums = {"tp gather post-attention norm back", "dispatch back",
                                      "etp gather back"};
  REQUIRE(floats.size() == 12);
  for (const auto& [name, bytes] : floats) {
    INFO(name);
    const bool is_back = name.ends_with(" back");
    CHECK(bytes == 2 * halves.at(name));
    CHECK(bf16.at(name) == (sums.count(name) > 0 ? 2 : 1) * halves.at(name));
    CHECK(fp8.at(name) == (is_back ? 2 : 1) * halves.at(name));
  }
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "model/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "base/text.h"
#include "model/import_fields.h"
#include "model/validate.h"

namespace narrows {
namespace {

using namespace import_fields;

// The parts that all families but GPT-2 call the same.
Result<ModelSpec> common(JsonObject& config, const std::string& name) {
  ModelSpec model;
  model.name = name;
  model.layers = TRY(size(config, "num_hidden_layers", limits::kLayers));
  model.hidden = TRY(size(config, "hidden_size", limits::kHidden));
  model.ffn = TRY(size(config, "intermediate_size", limits::kFfn));
  model.vocab = TRY(size(config, "vocab_size", limits::kVocab));
  model.max_positions = TRY(size(config, "max_position_embeddings", limits::kPositions));
  model.tied_embeddings = TRY(config.boolean_or("tie_word_embeddings", false));
  TRY(expect_word(config, "hidden_act", "silu"));
  TRY(add_numerics(config, model));
  model.attention.heads = TRY(size(config, "num_attention_heads", limits::kHeads));
  return model;
}

// Grouped-query attention: KV heads and the head's size, both often implied.
Status add_gqa(JsonObject& config, ModelSpec& model) {
  AttentionSpec& a = model.attention;
  a.kind = AttentionKind::Gqa;
  a.kv_heads = TRY(size_or(config, "num_key_value_heads", limits::kHeads, a.heads));
  if (a.kv_heads > a.heads || a.heads % a.kv_heads != 0) {
    return invalid(fmt::format("{}: expected a divisor of the {} attention heads, found {}",
                               config.place("num_key_value_heads"), a.heads, a.kv_heads));
  }
  a.head_dim = TRY(head_size(config, model.hidden, a.heads));
  return {};
}

Result<ModelSpec> import_llama(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(common(config, name));
  TRY(add_gqa(config, model));
  const bool attention_bias = TRY(config.boolean_or("attention_bias", false));
  const bool mlp_bias = TRY(config.boolean_or("mlp_bias", false));
  if (attention_bias != mlp_bias) {
    return unsupported(fmt::format(
        "{}: expected attention_bias and mlp_bias both true or both false, found one of each",
        config.place(attention_bias ? "attention_bias" : "mlp_bias")));
  }
  model.linear_bias = attention_bias;
  return model;
}

Result<ModelSpec> import_mistral(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(common(config, name));
  TRY(add_gqa(config, model));
  model.attention.window = TRY(size_or(config, "sliding_window", limits::kPositions, 0));
  return model;
}

Result<ModelSpec> import_mixtral(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(import_mistral(config, name));
  MoeSpec moe;
  moe.experts = TRY(size(config, "num_local_experts", limits::kExperts));
  moe.top_k = TRY(top_k(config, moe.experts));
  moe.expert_ffn = model.ffn;
  model.ffn = 0;
  model.moe = moe;
  return model;
}

Result<ModelSpec> import_qwen2(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(common(config, name));
  TRY(add_gqa(config, model));
  TRY(add_window(config, model));
  model.attention.qkv_bias = TRY(config.boolean_or("qkv_bias", true));
  return model;
}

// Qwen3's heads are not hidden / heads wide, so head_dim must be said.
Result<ModelSpec> import_qwen3(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(common(config, name));
  TRY(size(config, "head_dim", limits::kHeadDim));
  TRY(add_gqa(config, model));
  TRY(add_window(config, model));
  TRY(expect_false(config, "attention_bias"));
  model.attention.qk_norm = QkNorm::PerHead;
  return model;
}

// Experts of Qwen's MoE families: which layers are dense is a step and a list.
Status add_qwen_moe(JsonObject& config, ModelSpec& model) {
  MoeSpec moe;
  moe.experts = TRY(size(config, "num_experts", limits::kExperts));
  moe.top_k = TRY(top_k(config, moe.experts));
  moe.expert_ffn = TRY(size(config, "moe_intermediate_size", limits::kFfn));
  moe.layer_step = TRY(size_or(config, "decoder_sparse_step", model.layers, 1));
  moe.dense_layers = TRY(leading_dense_layers(config, model.layers));
  if (moe.dense_layers > 0 && moe.layer_step > 1) {
    return unsupported(
        fmt::format("{}: expected an empty list where decoder_sparse_step is {}, found {} layers",
                    config.place("mlp_only_layers"), moe.layer_step, moe.dense_layers));
  }
  if (moe.dense_layers == 0 && moe.layer_step == 1) model.ffn = 0;
  model.moe = moe;
  return {};
}

Result<ModelSpec> import_qwen2_moe(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(import_qwen2(config, name));
  TRY(add_qwen_moe(config, model));
  model.moe->shared_ffn = TRY(size(config, "shared_expert_intermediate_size", limits::kFfn));
  model.moe->shared_gate = true;
  return model;
}

Result<ModelSpec> import_qwen3_moe(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(import_qwen3(config, name));
  TRY(add_qwen_moe(config, model));
  return model;
}

// Routing as DeepSeek's families write it. `third` = V3 and after: sigmoid scores and a selection
// bias unless said.
Result<MoeSpec> deepseek_moe(JsonObject& config, const ModelSpec& model, bool third) {
  MoeSpec moe;
  moe.experts = TRY(size(config, "n_routed_experts", limits::kExperts));
  moe.top_k = TRY(top_k(config, moe.experts));
  moe.expert_ffn = TRY(size(config, "moe_intermediate_size", limits::kFfn));
  const std::int64_t shared = TRY(config.integer_or("n_shared_experts", 0, limits::kExperts, 0));
  if (shared * moe.expert_ffn > limits::kFfn) {
    return invalid(fmt::format("{}: expected shared experts of at most {} together, found {} of {}",
                               config.place("n_shared_experts"), limits::kFfn, shared,
                               moe.expert_ffn));
  }
  moe.shared_ffn = static_cast<int>(shared * moe.expert_ffn);
  moe.dense_layers =
      static_cast<int>(TRY(config.integer_or("first_k_dense_replace", 0, model.layers - 1, 0)));
  TRY(expect_one(config, "moe_layer_freq"));
  moe.score = TRY(router_score(config, third ? RouterScore::Sigmoid : RouterScore::Softmax));
  const std::string method =
      TRY(selection_method(config, third ? "noaux_tc" : "group_limited_greedy"));
  moe.selection_bias = method == "noaux_tc";
  if (method != "greedy") TRY(add_groups(config, moe));
  return moe;
}

Result<ModelSpec> import_deepseek(JsonObject& config, const std::string& name) {
  ModelSpec model = TRY(common(config, name));
  TRY(add_gqa(config, model));
  TRY(expect_false(config, "attention_bias"));
  if (!config.has("n_routed_experts")) return model;
  model.moe = TRY(deepseek_moe(config, model, false));
  if (model.moe->dense_layers == 0) model.ffn = 0;
  return model;
}

Result<ModelSpec> import_latent(JsonObject& config, const std::string& name, bool third) {
  ModelSpec model = TRY(common(config, name));
  TRY(add_mla(config, model));
  if (third)
    model.mtp_layers = static_cast<int>(
        TRY(config.integer_or("num_nextn_predict_layers", 0, limits::kMtpLayers, 0)));
  if (!third && !config.has("n_routed_experts")) return model;
  model.moe = TRY(deepseek_moe(config, model, third));
  if (model.moe->dense_layers == 0) model.ffn = 0;
  return model;
}

Result<ModelSpec> import_deepseek_v2(JsonObject& config, const std::string& name) {
  return import_latent(config, name, false);
}
Result<ModelSpec> import_deepseek_v3(JsonObject& config, const std::string& name) {
  return import_latent(config, name, true);
}

Result<ModelSpec> import_gpt2(JsonObject& config, const std::string& name) {
  ModelSpec model;
  model.name = name;
  model.layers = TRY(size(config, "n_layer", limits::kLayers));
  model.hidden = TRY(size(config, "n_embd", limits::kHidden));
  model.ffn = TRY(size_or(config, "n_inner", limits::kFfn, 4 * model.hidden));
  model.vocab = TRY(size(config, "vocab_size", limits::kVocab));
  model.max_positions = TRY(size(config, "n_positions", limits::kPositions));
  const int context = TRY(size_or(config, "n_ctx", limits::kPositions, model.max_positions));
  if (context != model.max_positions) {
    return invalid(fmt::format("{}: expected n_positions, {}, found {}", config.place("n_ctx"),
                               model.max_positions, context));
  }
  model.learned_positions = model.max_positions;
  model.tied_embeddings = TRY(config.boolean_or("tie_word_embeddings", true));
  const std::string activation = TRY(config.string_or("activation_function", "gelu_new"));
  if (!activation.starts_with("gelu")) {
    return unsupported(fmt::format("{}: expected a gelu, found \"{}\"",
                                   config.place("activation_function"), activation));
  }
  model.activation = Activation::Gelu;
  model.norm = NormKind::Layer;
  model.linear_bias = true;
  model.attention.heads = TRY(size(config, "n_head", limits::kHeads));
  model.attention.kv_heads = model.attention.heads;
  model.attention.qkv_bias = true;
  if (model.hidden % model.attention.heads != 0) {
    return invalid(fmt::format("{}: expected a divisor of n_embd, {}, found {}",
                               config.place("n_head"), model.hidden, model.attention.heads));
  }
  model.attention.head_dim = model.hidden / model.attention.heads;
  if (config.has("layer_norm_epsilon")) {
    model.numerics = Numerics{.norm_epsilon = TRY(config.number("layer_norm_epsilon", 0, 1))};
  }
  return model;
}

struct Family {
  std::string_view model_type;
  Result<ModelSpec> (*read)(JsonObject&, const std::string&);
};

constexpr std::array<Family, 12> kFamilies = {{{"deepseek", import_deepseek},
                                               {"deepseek_v2", import_deepseek_v2},
                                               {"deepseek_v3", import_deepseek_v3},
                                               {"gpt2", import_gpt2},
                                               {"kimi_k2", import_deepseek_v3},
                                               {"llama", import_llama},
                                               {"mistral", import_mistral},
                                               {"mixtral", import_mixtral},
                                               {"qwen2", import_qwen2},
                                               {"qwen2_moe", import_qwen2_moe},
                                               {"qwen3", import_qwen3},
                                               {"qwen3_moe", import_qwen3_moe}}};

std::string model_name(const std::string& file) {
  const std::filesystem::path path(file);
  const std::string folder = path.parent_path().filename().string();
  const std::string name = path.filename() == "config.json" && !folder.empty() && folder != "."
                               ? folder
                               : path.stem().string();
  return name.empty() ? "model" : name.substr(0, 200);
}

}  // namespace

std::vector<std::string> importable_model_types() {
  std::vector<std::string> types;
  for (const Family& family : kFamilies) types.emplace_back(family.model_type);
  return types;
}

Result<ModelSpec> import_config(const Json& node, const std::string& file) {
  JsonObject config = TRY(JsonObject::of(node, file));
  const std::string type = TRY(config.string("model_type"));
  for (const Family& family : kFamilies) {
    if (family.model_type != type) continue;
    ModelSpec model = TRY(family.read(config, model_name(file)));
    const bool normalised = type == "mixtral" || type == "deepseek_v3" || type == "kimi_k2";
    TRY(add_routed_weights(config, normalised, model));
    const Status status = validate(model);
    if (!status) return tl::unexpected(status.error().within(config.place()));
    return model;
  }
  std::string known;
  for (const Family& family : kFamilies) known += fmt::format(" {}", family.model_type);
  return unsupported(
      fmt::format("{}: expected one of{}, found \"{}\"", config.place("model_type"), known, type));
}

}  // namespace narrows

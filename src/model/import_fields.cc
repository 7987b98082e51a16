// SPDX-License-Identifier: Apache-2.0
#include "model/import_fields.h"

#include <fmt/format.h>

#include <vector>

#include "model/validate.h"

namespace narrows::import_fields {

Result<int> size(JsonObject& config, std::string_view key, std::int64_t most) {
  return static_cast<int>(TRY(config.integer(key, 1, most)));
}

Result<int> size_or(JsonObject& config, std::string_view key, std::int64_t most, int fallback) {
  if (!config.has(key)) return fallback;
  return size(config, key, most);
}

Status expect_word(JsonObject& config, std::string_view key, std::string_view word) {
  const std::string found = TRY(config.string_or(key, std::string(word)));
  if (found == word) return {};
  return unsupported(
      fmt::format("{}: expected \"{}\", found \"{}\"", config.place(key), word, found));
}

Status expect_false(JsonObject& config, std::string_view key) {
  if (!TRY(config.boolean_or(key, false))) return {};
  return unsupported(
      fmt::format("{}: expected false for this model_type, found true", config.place(key)));
}

Status expect_one(JsonObject& config, std::string_view key) {
  const std::int64_t found = TRY(config.integer_or(key, 1, limits::kLayers, 1));
  if (found == 1) return {};
  return unsupported(fmt::format("{}: expected 1, found {}", config.place(key), found));
}

Result<int> head_size(JsonObject& config, int hidden, int heads) {
  if (config.has("head_dim")) {
    const int dim = TRY(size(config, "head_dim", limits::kHeadDim));
    if (dim % 2 == 0) return dim;
    return invalid(
        fmt::format("{}: expected an even number, since pairs of dimensions are rotated, found {}",
                    config.place("head_dim"), dim));
  }
  const std::string place = config.place("num_attention_heads");
  if (hidden % heads != 0) {
    return invalid(
        fmt::format("{}: expected a divisor of hidden_size, {}, where head_dim is absent, found {}",
                    place, hidden, heads));
  }
  if (hidden / heads % 2 != 0) {
    return invalid(fmt::format(
        "{}: expected heads of an even size, since pairs of dimensions are rotated, found {} / {}",
        place, hidden, heads));
  }
  return hidden / heads;
}

Result<int> top_k(JsonObject& config, int experts) {
  const int chosen = TRY(size(config, "num_experts_per_tok", limits::kExperts));
  if (chosen <= experts) return chosen;
  return invalid(fmt::format("{}: expected at most the {} experts, found {}",
                             config.place("num_experts_per_tok"), experts, chosen));
}

Result<RouterScore> router_score(JsonObject& config, RouterScore fallback) {
  if (!config.has("scoring_func")) return fallback;
  const std::string word = TRY(config.string("scoring_func"));
  if (word == "softmax") return RouterScore::Softmax;
  if (word == "sigmoid") return RouterScore::Sigmoid;
  return unsupported(fmt::format("{}: expected \"softmax\" or \"sigmoid\", found \"{}\"",
                                 config.place("scoring_func"), word));
}

Result<std::string> selection_method(JsonObject& config, std::string_view fallback) {
  const std::string word = TRY(config.string_or("topk_method", std::string(fallback)));
  if (word == "greedy" || word == "group_limited_greedy" || word == "noaux_tc") return word;
  return unsupported(
      fmt::format("{}: expected \"greedy\", \"group_limited_greedy\" or \"noaux_tc\", found \"{}\"",
                  config.place("topk_method"), word));
}

Status add_groups(JsonObject& config, MoeSpec& moe) {
  moe.groups = TRY(size_or(config, "n_group", limits::kExperts, 1));
  moe.top_groups = TRY(size_or(config, "topk_group", limits::kExperts, 1));
  if (moe.experts % moe.groups != 0) {
    return invalid(fmt::format("{}: expected a divisor of the {} experts, found {}",
                               config.place("n_group"), moe.experts, moe.groups));
  }
  if (moe.top_groups > moe.groups) {
    return invalid(fmt::format("{}: expected at most the {} groups of n_group, found {}",
                               config.place("topk_group"), moe.groups, moe.top_groups));
  }
  const int reachable = moe.top_groups * (moe.experts / moe.groups);
  if (moe.top_k > reachable) {
    return invalid(fmt::format("{}: expected at most the {} experts of {} groups, found {}",
                               config.place("num_experts_per_tok"), reachable, moe.top_groups,
                               moe.top_k));
  }
  return {};
}

Status add_mla(JsonObject& config, ModelSpec& model) {
  AttentionSpec& a = model.attention;
  a.kind = AttentionKind::Mla;
  a.kv_heads = TRY(size_or(config, "num_key_value_heads", limits::kHeads, a.heads));
  if (a.kv_heads != a.heads) {
    return invalid(fmt::format(
        "{}: expected the {} attention heads, which latent attention does not group, found {}",
        config.place("num_key_value_heads"), a.heads, a.kv_heads));
  }
  a.q_lora = TRY(size_or(config, "q_lora_rank", limits::kHidden, 0));
  a.kv_lora = TRY(size(config, "kv_lora_rank", limits::kHidden));
  a.qk_nope = TRY(size(config, "qk_nope_head_dim", limits::kHeadDim));
  a.qk_rope = TRY(size(config, "qk_rope_head_dim", limits::kHeadDim));
  a.v_dim = TRY(size(config, "v_head_dim", limits::kHeadDim));
  if (a.qk_rope % 2 != 0) {
    return invalid(
        fmt::format("{}: expected an even number, since pairs of dimensions are rotated, found {}",
                    config.place("qk_rope_head_dim"), a.qk_rope));
  }
  return expect_false(config, "attention_bias");
}

Result<int> leading_dense_layers(JsonObject& config, int layers) {
  if (!config.has("mlp_only_layers")) return 0;
  const Json* list = TRY(config.array("mlp_only_layers"));
  int next = 0;
  for (const Json& layer : list->items()) {
    if (layer.kind() != Json::Kind::Integer || layer.integer() != next || next >= layers - 1) {
      return unsupported(
          fmt::format("{}: expected the first layers in order, 0, 1, ..., found {} in place {}",
                      config.place("mlp_only_layers"), layer.description(), next));
    }
    ++next;
  }
  return next;
}

namespace {

// Every how many layers one attends fully: 1 if none does, 0 if all do. Unsupported if there is no
// such number.
Result<int> window_period(JsonObject& config, int layers) {
  const Json* list = TRY(config.array("layer_types"));
  if (static_cast<int>(list->items().size()) != layers) {
    return invalid(fmt::format("{}: expected {} entries as num_hidden_layers says, found {}",
                               config.place("layer_types"), layers, list->items().size()));
  }
  std::vector<bool> full;
  for (const Json& type : list->items()) {
    if (!type.is_string() ||
        (type.string() != "full_attention" && type.string() != "sliding_attention")) {
      return unsupported(
          fmt::format("{}: expected \"full_attention\" or \"sliding_attention\", found {}",
                      config.place("layer_types"), type.description()));
    }
    full.push_back(type.string() == "full_attention");
  }
  int first = 0;
  while (first < layers && !full[static_cast<std::size_t>(first)]) ++first;
  if (first == layers) return 1;
  const int period = first + 1;
  for (int layer = 0; layer < layers; ++layer) {
    if (full[static_cast<std::size_t>(layer)] != ((layer + 1) % period == 0)) {
      return unsupported(fmt::format(
          "{}: expected full attention in every {}th layer, found another pattern at layer {}",
          config.place("layer_types"), period, layer));
    }
  }
  return period == 1 ? 0 : period;
}

// Qwen2's older rule: layers from max_window_layers on have the window.
Result<int> window_period_by_count(JsonObject& config, int layers) {
  const std::int64_t without = TRY(config.integer_or("max_window_layers", 0, limits::kLayers, 0));
  if (without == 0) return 1;
  if (without >= layers) return 0;
  return unsupported(fmt::format("{}: expected 0 or at least the {} layers, found {}",
                                 config.place("max_window_layers"), layers, without));
}

}  // namespace

Status add_window(JsonObject& config, ModelSpec& model) {
  const bool used = TRY(config.boolean_or("use_sliding_window", false));
  const bool listed = config.has("layer_types");
  const int listed_period = listed ? TRY(window_period(config, model.layers)) : 0;
  if (!used && listed_period != 0) {
    return invalid(
        fmt::format("{}: expected full_attention only, since use_sliding_window is not true, found "
                    "sliding_attention",
                    config.place("layer_types")));
  }
  if (!used) return {};
  if (!config.has("sliding_window")) {
    return invalid(fmt::format("{}: expected a sliding_window beside it, found none",
                               config.place("use_sliding_window")));
  }
  const int window = TRY(size(config, "sliding_window", limits::kPositions));
  const int period = listed ? listed_period : TRY(window_period_by_count(config, model.layers));
  if (period == 0) return {};
  model.attention.window = window;
  model.attention.window_every = period;
  return {};
}

Status read_rope_scaling(JsonObject& config, int max_positions, Numerics& n) {
  if (!config.has("rope_scaling")) return {};
  JsonObject scaling = TRY(config.object("rope_scaling"));
  const std::string type = TRY(scaling.string_or("rope_type", ""));
  const std::string old_type = TRY(scaling.string_or("type", type));
  if (!type.empty() && type != old_type) {
    return invalid(fmt::format("{}: expected rope_type, \"{}\", found \"{}\"",
                               scaling.place("type"), type, old_type));
  }
  RopeScaling& s = n.scaling;
  s.factor = TRY(scaling.number_or("factor", 1, 1e6, 1));
  s.beta_fast = TRY(scaling.number_or("beta_fast", 1e-6, 1e6, s.beta_fast));
  s.beta_slow = TRY(scaling.number_or("beta_slow", 1e-6, 1e6, s.beta_slow));
  s.mscale = TRY(scaling.number_or("mscale", 0, 1e3, 0));
  s.mscale_all_dim = TRY(scaling.number_or("mscale_all_dim", 0, 1e3, 0));
  s.low_frequency = TRY(scaling.number_or("low_freq_factor", 1e-6, 1e6, s.low_frequency));
  s.high_frequency = TRY(scaling.number_or("high_freq_factor", 1e-6, 1e6, s.high_frequency));
  const std::int64_t original = TRY(
      scaling.integer_or("original_max_position_embeddings", 1, limits::kPositions, max_positions));
  if (original > max_positions) {
    return invalid(fmt::format("{}: expected at most max_position_embeddings, {}, found {}",
                               scaling.place("original_max_position_embeddings"), max_positions,
                               original));
  }
  s.positions = original;
  n.rope_scaling = old_type.empty() ? "unnamed" : old_type;
  if (n.rope_scaling != "default") return {};
  n.rope_scaling.clear();
  s = RopeScaling();
  return {};
}

Status add_numerics(JsonObject& config, ModelSpec& model) {
  Numerics n;
  n.norm_epsilon = TRY(config.number_or("rms_norm_eps", 0, 1, n.norm_epsilon));
  n.rope_theta = TRY(config.number_or("rope_theta", 1, 1e12, n.rope_theta));
  TRY(read_rope_scaling(config, model.max_positions, n));
  n.rope_interleaved = TRY(config.boolean_or("rope_interleave", true));
  if (config.has("rms_norm_eps") && config.has("rope_theta")) model.numerics = n;
  return {};
}

Status add_routed_weights(JsonObject& config, bool normalised_by_default, ModelSpec& model) {
  const bool normalised = TRY(config.boolean_or("norm_topk_prob", normalised_by_default));
  const double scale = TRY(config.number_or("routed_scaling_factor", 0, 1e6, 1));
  if (!model.moe || !model.numerics) return {};
  model.numerics->normalise_top_k = normalised;
  model.numerics->routed_scale = scale;
  return {};
}

}  // namespace narrows::import_fields

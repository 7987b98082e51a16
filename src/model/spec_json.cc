// SPDX-License-Identifier: Apache-2.0
#include "model/spec_json.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

namespace narrows {
namespace {

// Enumerators and their names in JSON.
template <typename E, std::size_t N>
using Names = std::array<std::pair<E, std::string_view>, N>;

constexpr Names<AttentionKind, 2> kAttentionKinds = {
    {{AttentionKind::Gqa, "gqa"}, {AttentionKind::Mla, "mla"}}};
constexpr Names<QkNorm, 3> kQkNorms = {
    {{QkNorm::None, "none"}, {QkNorm::PerHead, "per-head"}, {QkNorm::Full, "full"}}};
constexpr Names<RouterScore, 2> kScores = {
    {{RouterScore::Softmax, "softmax"}, {RouterScore::Sigmoid, "sigmoid"}}};
constexpr Names<Activation, 2> kActivations = {
    {{Activation::SwiGlu, "swiglu"}, {Activation::Gelu, "gelu"}}};
constexpr Names<NormKind, 2> kNorms = {{{NormKind::Rms, "rms"}, {NormKind::Layer, "layer"}}};

template <typename E, std::size_t N>
std::string name_in(const Names<E, N>& names, E value) {
  for (const auto& [enumerator, name] : names) {
    if (enumerator == value) return std::string(name);
  }
  return "";
}

template <typename E, std::size_t N>
Result<E> read_name(JsonObject& object, std::string_view key, const Names<E, N>& names) {
  const std::string word = TRY(object.string(key));
  std::string known;
  for (const auto& [enumerator, name] : names) {
    if (name == word) return enumerator;
    known += (known.empty() ? "\"" : " or \"") + std::string(name) + "\"";
  }
  return invalid(fmt::format("{}: expected {}, found {}", object.place(key), known,
                             object.node().find(key)->description()));
}

template <typename E, std::size_t N>
Result<E> read_name_or(JsonObject& object, std::string_view key, const Names<E, N>& names,
                       E fallback) {
  if (!object.has(key)) return fallback;
  return read_name(object, key, names);
}

Result<int> size(JsonObject& object, std::string_view key, std::int64_t least, std::int64_t most) {
  return static_cast<int>(TRY(object.integer(key, least, most)));
}
Result<int> size_or(JsonObject& object, std::string_view key, std::int64_t most, int fallback) {
  return static_cast<int>(TRY(object.integer_or(key, fallback == 0 ? 0 : 1, most, fallback)));
}

Json attention_json(const AttentionSpec& a) {
  Json json = Json::object();
  json.set("kind", name_in(kAttentionKinds, a.kind));
  json.set("heads", a.heads);
  if (a.kind == AttentionKind::Gqa) {
    json.set("kv_heads", a.kv_heads);
    json.set("head_dim", a.head_dim);
    json.set("qkv_bias", a.qkv_bias);
    json.set("qk_norm", name_in(kQkNorms, a.qk_norm));
  } else {
    json.set("q_lora", a.q_lora);
    json.set("kv_lora", a.kv_lora);
    json.set("qk_nope", a.qk_nope);
    json.set("qk_rope", a.qk_rope);
    json.set("v_dim", a.v_dim);
  }
  json.set("window", a.window);
  json.set("window_every", a.window_every);
  return json;
}

Json moe_json(const MoeSpec& m) {
  Json json = Json::object();
  json.set("experts", m.experts);
  json.set("top_k", m.top_k);
  json.set("expert_ffn", m.expert_ffn);
  json.set("shared_ffn", m.shared_ffn);
  json.set("groups", m.groups);
  json.set("top_groups", m.top_groups);
  json.set("dense_layers", m.dense_layers);
  json.set("layer_step", m.layer_step);
  json.set("score", name_in(kScores, m.score));
  json.set("selection_bias", m.selection_bias);
  json.set("shared_gate", m.shared_gate);
  return json;
}

Result<AttentionSpec> read_attention(JsonObject object) {
  AttentionSpec a;
  a.kind = TRY(read_name(object, "kind", kAttentionKinds));
  a.heads = TRY(size(object, "heads", 1, limits::kHeads));
  a.kv_heads = a.heads;
  if (a.kind == AttentionKind::Gqa) {
    a.kv_heads = TRY(size_or(object, "kv_heads", limits::kHeads, a.heads));
    a.head_dim = TRY(size(object, "head_dim", 1, limits::kHeadDim));
    a.qkv_bias = TRY(object.boolean_or("qkv_bias", false));
    a.qk_norm = TRY(read_name_or(object, "qk_norm", kQkNorms, QkNorm::None));
  } else {
    a.q_lora = TRY(size_or(object, "q_lora", limits::kHidden, 0));
    a.kv_lora = TRY(size(object, "kv_lora", 1, limits::kHidden));
    a.qk_nope = TRY(size(object, "qk_nope", 1, limits::kHeadDim));
    a.qk_rope = TRY(size(object, "qk_rope", 1, limits::kHeadDim));
    a.v_dim = TRY(size(object, "v_dim", 1, limits::kHeadDim));
  }
  a.window = TRY(size_or(object, "window", limits::kPositions, 0));
  a.window_every = TRY(size_or(object, "window_every", limits::kLayers, 1));
  TRY(object.finish());
  return a;
}

Result<MoeSpec> read_moe(JsonObject object) {
  MoeSpec m;
  m.experts = TRY(size(object, "experts", 1, limits::kExperts));
  m.top_k = TRY(size(object, "top_k", 1, limits::kExperts));
  m.expert_ffn = TRY(size(object, "expert_ffn", 1, limits::kFfn));
  m.shared_ffn = TRY(size_or(object, "shared_ffn", limits::kFfn, 0));
  m.groups = TRY(size_or(object, "groups", limits::kExperts, 1));
  m.top_groups = TRY(size_or(object, "top_groups", limits::kExperts, 1));
  m.dense_layers = TRY(size_or(object, "dense_layers", limits::kLayers, 0));
  m.layer_step = TRY(size_or(object, "layer_step", limits::kLayers, 1));
  m.score = TRY(read_name_or(object, "score", kScores, RouterScore::Softmax));
  m.selection_bias = TRY(object.boolean_or("selection_bias", false));
  m.shared_gate = TRY(object.boolean_or("shared_gate", false));
  TRY(object.finish());
  return m;
}

Json scaling_json(const RopeScaling& s) {
  Json json = Json::object();
  json.set("factor", s.factor);
  json.set("positions", s.positions);
  json.set("beta_fast", s.beta_fast);
  json.set("beta_slow", s.beta_slow);
  json.set("mscale", s.mscale);
  json.set("mscale_all_dim", s.mscale_all_dim);
  json.set("low_frequency", s.low_frequency);
  json.set("high_frequency", s.high_frequency);
  return json;
}

Result<RopeScaling> read_scaling(JsonObject object) {
  RopeScaling s;
  s.factor = TRY(object.number_or("factor", 1, 1e6, s.factor));
  s.positions = TRY(object.integer_or("positions", 0, limits::kPositions, s.positions));
  s.beta_fast = TRY(object.number_or("beta_fast", 1e-6, 1e6, s.beta_fast));
  s.beta_slow = TRY(object.number_or("beta_slow", 1e-6, 1e6, s.beta_slow));
  s.mscale = TRY(object.number_or("mscale", 0, 1e3, s.mscale));
  s.mscale_all_dim = TRY(object.number_or("mscale_all_dim", 0, 1e3, s.mscale_all_dim));
  s.low_frequency = TRY(object.number_or("low_frequency", 1e-6, 1e6, s.low_frequency));
  s.high_frequency = TRY(object.number_or("high_frequency", 1e-6, 1e6, s.high_frequency));
  TRY(object.finish());
  return s;
}

Json numerics_json(const Numerics& n) {
  Json json = Json::object();
  json.set("norm_epsilon", n.norm_epsilon);
  json.set("rope_theta", n.rope_theta);
  json.set("rope_scaling", n.rope_scaling);
  if (!n.rope_scaling.empty()) json.set("scaling", scaling_json(n.scaling));
  if (!n.rope_interleaved) json.set("rope_interleaved", false);
  json.set("normalise_top_k", n.normalise_top_k);
  json.set("routed_scale", n.routed_scale);
  return json;
}

Result<Numerics> read_numerics(JsonObject object) {
  Numerics n;
  n.norm_epsilon = TRY(object.number("norm_epsilon", 0, 1));
  n.rope_theta = TRY(object.number("rope_theta", 1, 1e12));
  n.rope_scaling = TRY(object.string_or("rope_scaling", ""));
  if (object.has("scaling")) {
    const JsonObject scaling = TRY(object.object("scaling"));
    n.scaling = TRY(read_scaling(scaling));
  }
  n.rope_interleaved = TRY(object.boolean_or("rope_interleaved", true));
  n.normalise_top_k = TRY(object.boolean_or("normalise_top_k", true));
  n.routed_scale = TRY(object.number_or("routed_scale", 0, 1e6, 1));
  TRY(object.finish());
  return n;
}

// "file:line: path.key: what is wrong" for a flaw in what `object` holds.
std::string located(JsonObject& object, const Flaw& flaw) {
  const std::size_t dot = flaw.field.find('.');
  if (dot == std::string::npos) return object.place(flaw.field) + ": " + flaw.text;
  const Result<JsonObject> inner = object.object(flaw.field.substr(0, dot));
  ASSERT(inner.has_value());
  return inner->place(flaw.field.substr(dot + 1)) + ": " + flaw.text;
}

}  // namespace

Json to_json(const ModelSpec& model) {
  Json json = Json::object();
  json.set("name", model.name);
  json.set("layers", model.layers);
  json.set("hidden", model.hidden);
  json.set("ffn", model.ffn);
  json.set("vocab", model.vocab);
  json.set("tied_embeddings", model.tied_embeddings);
  json.set("activation", name_in(kActivations, model.activation));
  json.set("norm", name_in(kNorms, model.norm));
  json.set("linear_bias", model.linear_bias);
  json.set("learned_positions", model.learned_positions);
  json.set("max_positions", model.max_positions);
  json.set("mtp_layers", model.mtp_layers);
  if (model.lora_rank > 0) json.set("lora_rank", model.lora_rank);
  if (model.packed_samples > 0) json.set("packed_samples", model.packed_samples);
  json.set("attention", attention_json(model.attention));
  json.set("moe", model.moe ? moe_json(*model.moe) : Json());
  if (model.numerics) json.set("numerics", numerics_json(*model.numerics));
  return json;
}

Result<ModelSpec> model_from_json(JsonObject& object) {
  ModelSpec model;
  model.name = TRY(object.string("name"));
  model.layers = TRY(size(object, "layers", 1, limits::kLayers));
  model.hidden = TRY(size(object, "hidden", 1, limits::kHidden));
  model.ffn = TRY(size_or(object, "ffn", limits::kFfn, 0));
  model.vocab = TRY(size(object, "vocab", 1, limits::kVocab));
  model.tied_embeddings = TRY(object.boolean_or("tied_embeddings", false));
  model.activation = TRY(read_name_or(object, "activation", kActivations, Activation::SwiGlu));
  model.norm = TRY(read_name_or(object, "norm", kNorms, NormKind::Rms));
  model.linear_bias = TRY(object.boolean_or("linear_bias", false));
  model.learned_positions = TRY(size_or(object, "learned_positions", limits::kPositions, 0));
  model.max_positions = TRY(size_or(object, "max_positions", limits::kPositions, 0));
  model.mtp_layers = TRY(size_or(object, "mtp_layers", limits::kMtpLayers, 0));
  model.lora_rank = TRY(size_or(object, "lora_rank", limits::kLoraRank, 0));
  model.packed_samples = TRY(size_or(object, "packed_samples", limits::kPositions, 0));
  const JsonObject attention = TRY(object.object("attention"));
  model.attention = TRY(read_attention(attention));
  if (object.has("moe")) {
    const JsonObject moe = TRY(object.object("moe"));
    model.moe = TRY(read_moe(moe));
  }
  if (object.has("numerics")) {
    const JsonObject numerics = TRY(object.object("numerics"));
    model.numerics = TRY(read_numerics(numerics));
  }
  TRY(object.finish());
  if (const std::optional<Flaw> flaw = find_flaw(model)) return invalid(located(object, *flaw));
  return model;
}

}  // namespace narrows

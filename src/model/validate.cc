// SPDX-License-Identifier: Apache-2.0
#include "model/validate.h"

#include <fmt/format.h>

#include <vector>

namespace narrows {
namespace {

struct Range {
  const char* field;
  std::int64_t value;
  std::int64_t least;
  std::int64_t most;
};

std::optional<Flaw> first_outside(const std::vector<Range>& ranges) {
  for (const Range& r : ranges) {
    if (r.value >= r.least && r.value <= r.most) continue;
    return Flaw{r.field, fmt::format("expected a whole number from {} to {}, found {}", r.least,
                                     r.most, r.value)};
  }
  return std::nullopt;
}

std::optional<Flaw> flaw_of_gqa(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  if (const std::optional<Flaw> flaw =
          first_outside({{"attention.kv_heads", a.kv_heads, 1, a.heads},
                         {"attention.head_dim", a.head_dim, 1, limits::kHeadDim}})) {
    return flaw;
  }
  if (a.heads % a.kv_heads != 0) {
    return Flaw{"attention.kv_heads",
                fmt::format("expected a divisor of the {} heads, found {}", a.heads, a.kv_heads)};
  }
  if (model.learned_positions == 0 && a.head_dim % 2 != 0) {
    return Flaw{
        "attention.head_dim",
        fmt::format("expected an even number, since pairs of dimensions are rotated, found {}",
                    a.head_dim)};
  }
  if (a.q_lora != 0 || a.kv_lora != 0 || a.qk_nope != 0 || a.qk_rope != 0 || a.v_dim != 0) {
    return Flaw{"attention.kind", "expected mla for attention with latent dimensions, found gqa"};
  }
  return std::nullopt;
}

std::optional<Flaw> flaw_of_mla(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  if (const std::optional<Flaw> flaw =
          first_outside({{"attention.q_lora", a.q_lora, 0, limits::kHidden},
                         {"attention.kv_lora", a.kv_lora, 1, limits::kHidden},
                         {"attention.qk_nope", a.qk_nope, 1, limits::kHeadDim},
                         {"attention.qk_rope", a.qk_rope, 1, limits::kHeadDim},
                         {"attention.v_dim", a.v_dim, 1, limits::kHeadDim},
                         {"attention.kv_heads", a.kv_heads, a.heads, a.heads},
                         {"attention.head_dim", a.head_dim, 0, 0}})) {
    return flaw;
  }
  if (a.qk_rope % 2 != 0) {
    return Flaw{
        "attention.qk_rope",
        fmt::format("expected an even number, since pairs of dimensions are rotated, found {}",
                    a.qk_rope)};
  }
  if (a.qkv_bias || model.linear_bias) {
    return Flaw{"attention.kind", "expected gqa for a model with biases, found mla"};
  }
  if (a.qk_norm != QkNorm::None) {
    return Flaw{"attention.qk_norm",
                "expected none for mla, whose latents are normalised, found another"};
  }
  return std::nullopt;
}

std::optional<Flaw> flaw_of_attention(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  if (const std::optional<Flaw> flaw =
          first_outside({{"attention.heads", a.heads, 1, limits::kHeads},
                         {"attention.window", a.window, 0, limits::kPositions},
                         {"attention.window_every", a.window_every, 1, limits::kLayers}})) {
    return flaw;
  }
  if (a.window == 0 && a.window_every != 1) {
    return Flaw{"attention.window_every",
                fmt::format("expected 1 without a window, found {}", a.window_every)};
  }
  return a.kind == AttentionKind::Mla ? flaw_of_mla(model) : flaw_of_gqa(model);
}

std::optional<Flaw> flaw_of_moe(const ModelSpec& model) {
  const MoeSpec& m = *model.moe;
  if (const std::optional<Flaw> flaw =
          first_outside({{"moe.experts", m.experts, 1, limits::kExperts},
                         {"moe.top_k", m.top_k, 1, m.experts},
                         {"moe.expert_ffn", m.expert_ffn, 1, limits::kFfn},
                         {"moe.shared_ffn", m.shared_ffn, 0, limits::kFfn},
                         {"moe.groups", m.groups, 1, m.experts},
                         {"moe.top_groups", m.top_groups, 1, m.groups},
                         {"moe.dense_layers", m.dense_layers, 0, model.layers - 1},
                         {"moe.layer_step", m.layer_step, 1, model.layers - m.dense_layers}})) {
    return flaw;
  }
  if (m.experts % m.groups != 0) {
    return Flaw{"moe.groups",
                fmt::format("expected a divisor of the {} experts, found {}", m.experts, m.groups)};
  }
  const int reachable = m.top_groups * (m.experts / m.groups);
  if (m.top_k > reachable) {
    return Flaw{"moe.top_k", fmt::format("expected at most the {} experts of {} groups, found {}",
                                         reachable, m.top_groups, m.top_k)};
  }
  if (m.shared_gate && m.shared_ffn == 0) {
    return Flaw{"moe.shared_gate", "expected a shared expert to gate, found shared_ffn 0"};
  }
  return std::nullopt;
}

}  // namespace

std::optional<Flaw> find_flaw(const ModelSpec& model) {
  if (model.name.empty() || model.name.size() > 200) {
    return Flaw{"name", fmt::format("expected 1 to 200 characters, found {}", model.name.size())};
  }
  if (const std::optional<Flaw> flaw =
          first_outside({{"layers", model.layers, 1, limits::kLayers},
                         {"hidden", model.hidden, 1, limits::kHidden},
                         {"vocab", model.vocab, 1, limits::kVocab},
                         {"learned_positions", model.learned_positions, 0, limits::kPositions},
                         {"max_positions", model.max_positions, 0, limits::kPositions},
                         {"mtp_layers", model.mtp_layers, 0, limits::kMtpLayers},
                         {"lora_rank", model.lora_rank, 0, limits::kLoraRank},
                         {"packed_samples", model.packed_samples, 0, limits::kPositions}})) {
    return flaw;
  }
  if (const std::optional<Flaw> flaw = flaw_of_attention(model)) return flaw;
  if (model.moe) {
    if (const std::optional<Flaw> flaw = flaw_of_moe(model)) return flaw;
  }
  const bool has_dense_layer =
      !model.moe || model.moe->dense_layers > 0 || model.moe->layer_step > 1;
  return first_outside({{"ffn", model.ffn, has_dense_layer ? 1 : 0, limits::kFfn}});
}

Status validate(const ModelSpec& model) {
  if (const std::optional<Flaw> flaw = find_flaw(model))
    return invalid(flaw->field + ": " + flaw->text);
  return {};
}

}  // namespace narrows

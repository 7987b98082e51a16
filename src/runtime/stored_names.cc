// SPDX-License-Identifier: Apache-2.0
#include "runtime/stored_names.h"

#include <string_view>

namespace narrows {
namespace {

enum class Family { Llama, Mixtral, Gpt2 };

Family family_of(const ModelSpec& m) {
  const AttentionSpec& a = m.attention;
  const bool plain = a.kind == AttentionKind::Gqa && a.qk_norm == QkNorm::None;
  if (plain && m.learned_positions > 0 && m.norm == NormKind::Layer && m.linear_bias &&
      m.activation == Activation::Gelu && a.kv_heads == a.heads) {
    return Family::Gpt2;
  }
  const bool routed = m.moe && m.moe->shared_ffn == 0 && m.moe->score == RouterScore::Softmax;
  return plain && routed && !a.qkv_bias ? Family::Mixtral : Family::Llama;
}

struct Name {
  std::string_view ours;
  std::string_view theirs;
  bool transposed = false;
  int third = -1;  // of queries, keys and values in one tensor
};

constexpr Name kMixtral[] = {{".mlp.gate.", ".block_sparse_moe.gate."},
                             {".mlp.experts.", ".block_sparse_moe.experts."},
                             {".gate_proj.", ".w1."},
                             {".down_proj.", ".w2."},
                             {".up_proj.", ".w3."}};

constexpr Name kGpt2[] = {{"model.layers.", "h."},
                          {"model.embed_tokens.", "wte."},
                          {"model.embed_positions.", "wpe."},
                          {"model.norm.", "ln_f."},
                          {".input_layernorm.", ".ln_1."},
                          {".post_attention_layernorm.", ".ln_2."},
                          {".self_attn.q_proj.", ".attn.c_attn.", true, 0},
                          {".self_attn.k_proj.", ".attn.c_attn.", true, 1},
                          {".self_attn.v_proj.", ".attn.c_attn.", true, 2},
                          {".self_attn.o_proj.", ".attn.c_proj.", true},
                          {".mlp.c_fc.", ".mlp.c_fc.", true},
                          {".mlp.c_proj.", ".mlp.c_proj.", true}};

void apply(const Name& name, WeightPiece& piece) {
  WeightPiece::Stored& stored = piece.stored;
  if (stored.name.empty()) stored.name = piece.name;
  const std::size_t at = stored.name.find(name.ours);
  if (at == std::string::npos) return;
  stored.name.replace(at, name.ours.size(), name.theirs);
  stored.transposed = stored.transposed || (name.transposed && !piece.vector);
  if (name.third < 0) return;
  const std::int64_t outputs = piece.vector ? piece.columns : piece.rows;
  stored.outputs = 3 * outputs;
  stored.first_output = name.third * outputs;
}

// A dense layer of Mixtral's kind is Llama's.
bool is_routed(const WeightPiece& piece) {
  return piece.name.find(".mlp.gate.") != std::string::npos ||
         piece.name.find(".mlp.experts.") != std::string::npos;
}

}  // namespace

void name_as_stored(const ModelSpec& model, std::vector<Weight>& weights) {
  const Family family = family_of(model);
  for (Weight& weight : weights) {
    for (WeightPiece& piece : weight.pieces) {
      if (family == Family::Mixtral && is_routed(piece)) {
        for (const Name& name : kMixtral) apply(name, piece);
      }
      if (family == Family::Gpt2) {
        for (const Name& name : kGpt2) apply(name, piece);
      }
    }
  }
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "model/parameters.h"

#include <algorithm>

#include "base/result.h"

namespace narrows {
namespace {

// An FFN's matrices: gate, up and down, or up and down.
double ffn_weights(const ModelSpec& model, double width) {
  const int matrices = model.activation == Activation::SwiGlu ? 3 : 2;
  return matrices * static_cast<double>(model.hidden) * width;
}

// Biases of the matrices that widen; the one that narrows has `hidden`.
double ffn_column_bias(const ModelSpec& model, double width) {
  return model.activation == Activation::SwiGlu ? 2 * width : width;
}

double latent_down_weights(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  if (a.kind != AttentionKind::Mla) return 0;
  return static_cast<double>(model.hidden) * (a.q_lora + a.kv_lora + a.qk_rope);
}

double attention_weights(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  const double h = model.hidden;
  const double heads = a.heads;
  if (a.kind == AttentionKind::Gqa) return 2 * h * a.head_dim * (heads + a.kv_heads);
  const double query = heads * a.qk_dim() * (a.q_lora > 0 ? a.q_lora : h);
  const double key_value = heads * (a.qk_nope + a.v_dim) * a.kv_lora;
  return latent_down_weights(model) + query + key_value + heads * a.v_dim * h;
}

// Biases of q, k and v.
double qkv_bias(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  if (!a.qkv_bias && !model.linear_bias) return 0;
  return static_cast<double>(a.head_dim) * (a.heads + 2.0 * a.kv_heads);
}

double norm_size(const ModelSpec& model, double width) {
  return model.norm == NormKind::Rms ? width : 2 * width;
}

// Norms before attention and FFN, of the latents, of q and k.
double layer_norms(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  double norms = norm_size(model, 2.0 * model.hidden);
  if (a.kind == AttentionKind::Mla)
    norms += norm_size(model, a.q_lora) + norm_size(model, a.kv_lora);
  if (a.qk_norm == QkNorm::PerHead) norms += 2.0 * a.head_dim;
  if (a.qk_norm == QkNorm::Full) norms += static_cast<double>(a.head_dim) * (a.heads + a.kv_heads);
  return norms;
}

// A block of multi-token prediction holds the same kind of layer as the model's last.
ItemKind mtp_layer(const ModelSpec& model) {
  return model.moe ? ItemKind::MoeLayer : ItemKind::DenseLayer;
}

MatmulWeights layer_matmuls(const ModelSpec& model, ItemKind kind) {
  MatmulWeights w;
  w.attention = attention_weights(model);
  if (kind == ItemKind::DenseLayer) {
    w.ffn = ffn_weights(model, model.ffn);
    return w;
  }
  ASSERT(model.moe.has_value());
  w.shared = ffn_weights(model, model.moe->shared_ffn);
  w.expert = ffn_weights(model, model.moe->expert_ffn);
  w.router =
      static_cast<double>(model.hidden) * (model.moe->experts + (model.moe->shared_gate ? 1 : 0));
  return w;
}

double vocabulary_table(const ModelSpec& model) {
  return static_cast<double>(model.vocab) * model.hidden;
}

ItemParameters layer_parameters(const ModelSpec& model, ItemKind kind) {
  const MatmulWeights w = layer_matmuls(model, kind);
  ItemParameters p;
  p.norm = layer_norms(model);
  p.replicated = latent_down_weights(model) + w.router;
  double column_bias = qkv_bias(model);
  if (model.linear_bias) p.replicated += model.hidden;  // of the attention's output projection
  if (kind == ItemKind::DenseLayer && model.linear_bias) {
    column_bias += ffn_column_bias(model, model.ffn);
    p.replicated += model.hidden;
  }
  if (kind == ItemKind::MoeLayer) {
    const MoeSpec& moe = *model.moe;
    if (moe.selection_bias) p.replicated += moe.experts;
    double expert_bias = 0;
    if (model.linear_bias) {
      expert_bias = ffn_column_bias(model, moe.expert_ffn) + model.hidden;
      p.replicated += moe.experts;
    }
    if (model.linear_bias && moe.shared_ffn > 0) {
      column_bias += ffn_column_bias(model, moe.shared_ffn);
      p.replicated += model.hidden;
    }
    p.expert = moe.experts * (w.expert + expert_bias);
  }
  const double divided = w.attention - latent_down_weights(model) + w.ffn + w.shared;
  p.dense = divided + column_bias + p.replicated;
  return p;
}

// What one token uses: top_k of the experts.
double active(const ModelSpec& model, const ItemParameters& p) {
  if (!model.moe) return sum(p);
  return sum(p) - p.expert + p.expert / model.moe->experts * model.moe->top_k;
}

}  // namespace

MatmulWeights matmul_weights(const ModelSpec& model, ItemKind kind) {
  MatmulWeights w;
  switch (kind) {
    case ItemKind::Embedding:
      return w;
    case ItemKind::DenseLayer:
    case ItemKind::MoeLayer:
      return layer_matmuls(model, kind);
    case ItemKind::MtpBlock:
      w = layer_matmuls(model, mtp_layer(model));
      w.projection = 2.0 * model.hidden * model.hidden;
      w.head = vocabulary_table(model);
      return w;
    case ItemKind::Head:
      w.head = vocabulary_table(model);
      return w;
  }
  return w;
}

ItemParameters item_parameters(const ModelSpec& model, ItemKind kind) {
  const double h = model.hidden;
  ItemParameters p;
  switch (kind) {
    case ItemKind::Embedding:
      p.embedding = vocabulary_table(model) + h * model.learned_positions;
      return p;
    case ItemKind::DenseLayer:
    case ItemKind::MoeLayer:
      return layer_parameters(model, kind);
    case ItemKind::MtpBlock:
      p = layer_parameters(model, mtp_layer(model));
      p.dense += 2 * h * h;
      p.norm += norm_size(model, 3 * h);  // of both inputs and before the head
      p.borrowed = (model.tied_embeddings ? 1 : 2) * vocabulary_table(model);
      return p;
    case ItemKind::Head:
      p.norm = norm_size(model, h);
      (model.tied_embeddings ? p.borrowed : p.head) = vocabulary_table(model);
      return p;
  }
  return p;
}

double sum(const ItemParameters& p) { return p.dense + p.norm + p.expert + p.embedding + p.head; }

ParameterCount count_parameters(const ModelSpec& model) {
  ParameterCount count;
  for (const ItemKind kind : items_of(model)) {
    const ItemParameters p = item_parameters(model, kind);
    if (kind == ItemKind::MtpBlock) {
      count.mtp += sum(p);
      continue;
    }
    count.total += sum(p);
    count.active += active(model, p);
  }
  count.active_without_embedding = count.active - vocabulary_table(model);
  return count;
}

double adapter_parameters(const ModelSpec& model, int tp) {
  const AttentionSpec& a = model.attention;
  const double rank = model.lora_rank, h = model.hidden;
  const double heads = static_cast<double>(a.heads) / tp;
  if (a.kind == AttentionKind::Gqa) {
    const double kv_heads = std::max(1.0, static_cast<double>(a.kv_heads) / tp);
    return rank * (h + (heads + 2 * kv_heads) * a.head_dim);
  }
  const double queries = a.q_lora > 0 ? a.q_lora : heads * a.qk_dim();
  return rank * (2 * h + queries + a.kv_lora + a.qk_rope);
}

}  // namespace narrows

// What a model is: the shape of a decoder-only transformer, dense or mixture-of-experts, with
// multi-head latent or grouped-query attention. Everything else (parameters, FLOPs, the op graph)
// is computed from this.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/numerics.h"

namespace narrows {

enum class AttentionKind { Gqa, Mla };  // MHA is GQA with as many KV heads as heads

// QK normalisation: none, one RMSNorm of head_dim shared by all heads of q and one of k, or over
// the whole projection.
enum class QkNorm { None, PerHead, Full };

struct AttentionSpec {
  AttentionKind kind = AttentionKind::Gqa;
  int heads = 0;
  int kv_heads = 0;  // = heads for MLA
  int head_dim = 0;  // GQA only
  int q_lora = 0;    // MLA: rank of the query's latent, 0 = none
  int kv_lora = 0;   // MLA: rank of the joint key-value latent
  int qk_nope = 0;   // MLA: dimensions of a head without position
  int qk_rope = 0;   // MLA: rotated dimensions of a head, one shared key
  int v_dim = 0;     // MLA: dimensions of a value head
  bool qkv_bias = false;
  QkNorm qk_norm = QkNorm::None;
  int window = 0;  // sliding window in tokens, 0 = full causal attention
  int window_every =
      1;  // layer l has the window unless (l + 1) % window_every == 0; 1 = every layer has it

  friend bool operator==(const AttentionSpec&, const AttentionSpec&) = default;

  int qk_dim() const { return kind == AttentionKind::Mla ? qk_nope + qk_rope : head_dim; }
  int value_dim() const { return kind == AttentionKind::Mla ? v_dim : head_dim; }
};

enum class RouterScore { Softmax, Sigmoid };

struct MoeSpec {
  int experts = 0;       // routed experts
  int top_k = 0;         // experts a token
  int expert_ffn = 0;    // intermediate size of one routed expert
  int shared_ffn = 0;    // intermediate size of all shared experts together, 0 = none
  int groups = 1;        // node-limited routing: expert groups
  int top_groups = 1;    // groups a token may reach
  int dense_layers = 0;  // the first layers have a dense FFN
  int layer_step =
      1;  // after them every layer_step-th layer is MoE: (l - dense_layers + 1) % layer_step == 0
  RouterScore score = RouterScore::Softmax;
  bool selection_bias = false;  // a bias per expert for balancing without auxiliary loss
  bool shared_gate = false;     // a sigmoid gate on the shared expert (Qwen2-MoE)

  friend bool operator==(const MoeSpec&, const MoeSpec&) = default;
};

enum class Activation { SwiGlu, Gelu };  // three matrices, or two
enum class NormKind { Rms, Layer };      // one vector of parameters, or two

struct ModelSpec {
  std::string name;
  int layers = 0;
  int hidden = 0;
  int ffn =
      0;  // intermediate size of a dense FFN; unused (0 in the built-ins) where no layer is dense
  int vocab = 0;
  bool tied_embeddings = false;
  Activation activation = Activation::SwiGlu;
  NormKind norm = NormKind::Rms;
  bool linear_bias = false;   // biases on all linear layers (GPT-2, GPT-3)
  int learned_positions = 0;  // rows of a learned position table, 0 = rotary
  int max_positions = 0;      // the longest sequence the model was made for, 0 = not stated
  int mtp_layers = 0;         // multi-token-prediction blocks (deepseek2024)
  // Above 0 all weights are frozen, and adapters of this rank beside the projections to queries,
  // keys and values train instead (hu2021).
  int lora_rank = 0;
  int packed_samples = 0;  // tokens of the samples that share a sequence, each attending to itself
                           // only; 0 = a sequence is one text
  AttentionSpec attention;
  std::optional<MoeSpec> moe;
  std::optional<Numerics> numerics;  // as its config.json says; nothing where none did

  friend bool operator==(const ModelSpec&, const ModelSpec&) = default;
};

// The model in order: item 0 is the embedding, 1 … layers, then the MTP blocks, then the head.
enum class ItemKind { Embedding, DenseLayer, MoeLayer, MtpBlock, Head };

// How far attention reaches in a sequence of that length: the sample's tokens, or all.
std::int64_t sample_tokens(const ModelSpec& model, std::int64_t sequence);
// Whether layer l (0-based) is mixture-of-experts.
bool is_moe_layer(const ModelSpec& model, int layer);
// Whether layer l (0-based) attends within its sliding window only.
bool has_window(const ModelSpec& model, int layer);
std::vector<ItemKind> items_of(const ModelSpec& model);
std::string to_string(ItemKind kind);

// How a model was really trained, where published: the defaults that `plan` prints.
struct PublishedTraining {
  std::int64_t sequence = 0;      // tokens
  std::int64_t global_batch = 0;  // sequences; 0 = not published
  std::int64_t tokens = 0;        // whole training; 0 = not published
  std::string recipe;             // a name of recipe.h; "" = not published
  std::string source;
};

}  // namespace narrows

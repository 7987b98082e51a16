// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/rotary.h"
#include "runtime/stored_names.h"
#include "runtime/weight_list.h"

namespace narrows {
namespace {

// What every tensor-parallel rank holds whole, outside the region where ranks see parts: only under
// sequence parallelism are its gradients parts.
WeightGroup outside(const WeightList& list) {
  return list.shard().sequence_parallel ? WeightGroup::Stage : WeightGroup::Copies;
}

void mla(WeightList& list) {
  const AttentionSpec& a = list.model().attention;
  const int h = list.model().hidden;
  const bool in_pairs = rotates_neighbours(list.model());
  WeightPiece::Pairs queries;
  if (in_pairs) queries = {a.qk_dim(), a.qk_nope, a.qk_rope};
  // Every rank's heads give a part of the latents' gradients.
  const WeightGroup inside = WeightGroup::Stage;
  if (a.q_lora > 0) {
    list.whole("q_a", "self_attn.q_a_proj", a.q_lora, h, inside);
    list.vector("q latent norm", "self_attn.q_a_layernorm", a.q_lora, inside);
    list.by_rows("q_b", "self_attn.q_b_proj", std::int64_t{a.heads} * a.qk_dim(), a.q_lora);
    list.last_piece().pairs = queries;
  } else {
    list.by_rows("q", "self_attn.q_proj", std::int64_t{a.heads} * a.qk_dim(), h);
    list.last_piece().pairs = queries;
  }
  list.whole("kv_a", "self_attn.kv_a_proj_with_mqa", a.kv_lora + a.qk_rope, h, inside);
  if (in_pairs) list.last_piece().pairs = {a.kv_lora + a.qk_rope, a.kv_lora, a.qk_rope};
  list.vector("kv latent norm", "self_attn.kv_a_layernorm", a.kv_lora, inside);
  list.by_rows("kv_b", "self_attn.kv_b_proj", std::int64_t{a.heads} * (a.qk_nope + a.v_dim),
               a.kv_lora);
}

// Which heads of `heads` a rank holds: its share, or the one it holds with its neighbours.
struct HeadShare {
  std::int64_t first = 0;
  std::int64_t count = 0;
  int copies = 1;
};
HeadShare head_share(int heads, const WeightShard& s) {
  return {std::int64_t{heads} * s.tp_rank / s.tp, std::max(1, heads / s.tp),
          std::max(1, s.tp / heads)};
}

struct Projection {
  const char* name;
  int heads;
};

void gqa(WeightList& list) {
  const AttentionSpec& a = list.model().attention;
  const WeightShard& s = list.shard();
  const std::int64_t h = list.model().hidden;
  const Projection parts[] = {{"self_attn.q_proj", a.heads},
                              {"self_attn.k_proj", a.kv_heads},
                              {"self_attn.v_proj", a.kv_heads}};
  const auto mark = [&](const HeadShare& share) {
    list.last_piece().copies = share.copies;
    list.last_piece().is_copy = s.tp_rank % share.copies != 0;
  };
  list.begin("qkv", WeightGroup::Replicas);
  for (const Projection& p : parts) {
    const HeadShare share = head_share(p.heads, s);
    list.rows(p.name, std::int64_t{p.heads} * a.head_dim, h, share.first * a.head_dim,
              share.count * a.head_dim);
    mark(share);
  }
  if (a.qkv_bias || list.model().linear_bias) {
    list.begin_bias("qkv", WeightGroup::Replicas);
    for (const Projection& p : parts) {
      const HeadShare share = head_share(p.heads, s);
      list.bias_run(p.name, std::int64_t{p.heads} * a.head_dim, share.first * a.head_dim,
                    share.count * a.head_dim);
      mark(share);
    }
  }
  if (a.qk_norm == QkNorm::None) return;
  // Every rank's heads give a part of the gradient.
  list.begin("qk norm", WeightGroup::Stage);
  const bool full = a.qk_norm == QkNorm::Full;  // of one rank that has all heads (supported.cc)
  const std::int64_t queries = std::int64_t{full ? a.heads : 1} * a.head_dim;
  const std::int64_t keys = std::int64_t{full ? a.kv_heads : 1} * a.head_dim;
  list.run("self_attn.q_norm", queries, 0, queries);
  list.run("self_attn.k_norm", keys, 0, keys);
}

// Behind the sum over tensor-parallel ranks: each holds the bias, and the first adds it.
void exit_bias(WeightList& list, const std::string& op, const std::string& name) {
  if (list.model().linear_bias) list.bias(op, name, list.model().hidden, WeightGroup::Copies);
}

void attention(WeightList& list) {
  const AttentionSpec& a = list.model().attention;
  list.norm("input norm", "input_layernorm", list.model().hidden, outside(list));
  a.kind == AttentionKind::Mla ? mla(list) : gqa(list);
  list.by_columns("o_proj", "self_attn.o_proj", list.model().hidden,
                  std::int64_t{a.heads} * a.value_dim());
  exit_bias(list, "o_proj", "self_attn.o_proj");
}

// Gate and up as one matrix, and down, of an FFN of intermediate size `f`.
void gated_ffn(WeightList& list, const std::string& op, const std::string& name, std::int64_t f) {
  const WeightShard& s = list.shard();
  const std::int64_t h = list.model().hidden;
  list.begin(op + " gate_up", WeightGroup::Replicas);
  list.rows(name + "gate_proj", f, h, f / s.tp * s.tp_rank, f / s.tp);
  list.rows(name + "up_proj", f, h, f / s.tp * s.tp_rank, f / s.tp);
  if (list.model().linear_bias) {
    list.begin_bias(op + " gate_up", WeightGroup::Replicas);
    list.bias_run(name + "gate_proj", f, f / s.tp * s.tp_rank, f / s.tp);
    list.bias_run(name + "up_proj", f, f / s.tp * s.tp_rank, f / s.tp);
  }
  list.by_columns(op + " down", name + "down_proj", h, f);
  exit_bias(list, op + " down", name + "down_proj");
}

// Two matrices, by StarCoder2's names.
void plain_ffn(WeightList& list, std::int64_t f) {
  const WeightShard& s = list.shard();
  list.by_rows("ffn up", "mlp.c_fc", f, list.model().hidden);
  if (list.model().linear_bias) {
    list.begin_bias("ffn up", WeightGroup::Replicas);
    list.bias_run("mlp.c_fc", f, f / s.tp * s.tp_rank, f / s.tp);
  }
  list.by_columns("ffn down", "mlp.c_proj", list.model().hidden, f);
  exit_bias(list, "ffn down", "mlp.c_proj");
}

void experts(WeightList& list) {
  const MoeSpec& moe = *list.model().moe;
  const WeightShard& s = list.shard();
  const std::int64_t h = list.model().hidden;
  const std::int64_t f = moe.expert_ffn;
  const int held = moe.experts / s.ep;
  const auto name = [&](int e) { return fmt::format("mlp.experts.{}.", s.ep_rank * held + e); };
  list.begin("expert gate_up", WeightGroup::Experts);
  for (int e = 0; e < held; ++e) {
    list.rows(name(e) + "gate_proj", f, h, f / s.etp * s.etp_rank, f / s.etp);
    list.rows(name(e) + "up_proj", f, h, f / s.etp * s.etp_rank, f / s.etp);
  }
  list.begin("expert down", WeightGroup::Experts);
  for (int e = 0; e < held; ++e) {
    list.columns(name(e) + "down_proj", h, f, f / s.etp * s.etp_rank, f / s.etp);
  }
}

void moe(WeightList& list) {
  const MoeSpec& moe = *list.model().moe;
  list.norm("post-attention norm", "post_attention_layernorm", list.model().hidden, outside(list));
  // Its gradient is a part on every rank: of the tokens, or a share of each (ops_experts.cc).
  list.whole("router", "mlp.gate", moe.experts, list.model().hidden, WeightGroup::Stage);
  experts(list);
  if (moe.shared_ffn == 0) return;
  gated_ffn(list, "shared", moe.shared_gate ? "mlp.shared_expert." : "mlp.shared_experts.",
            moe.shared_ffn);
  if (!moe.shared_gate) return;
  list.whole("shared gate", "mlp.shared_expert_gate", 1, list.model().hidden, WeightGroup::Stage);
}

// The vocabulary is padded to a multiple of the ranks. Its tables belong to no layer.
void vocabulary(WeightList& all, const std::string& op, const std::string& name) {
  WeightList list(all.model(), all.shard(), "");
  const WeightShard& s = list.shard();
  const std::int64_t h = list.model().hidden;
  const std::int64_t vocab = list.model().vocab;
  const std::int64_t part = (vocab + s.tp - 1) / s.tp;
  const std::int64_t first = std::min(vocab, part * s.tp_rank);
  const std::int64_t count = std::min(part, vocab - first);
  list.begin(op, WeightGroup::Replicas);
  list.rows(name, vocab, h, first, count);
  list.pad((part - count) * h);
  all.append(list.take());
}

// Learned, and added by the first of the tensor-parallel ranks.
void positions(WeightList& list) {
  const std::int64_t rows = list.model().learned_positions;
  if (rows == 0) return;
  list.whole("positions", "model.embed_positions", rows, list.model().hidden, WeightGroup::Copies);
}

void head(WeightList& list, bool of_mtp) {
  list.norm("final norm", of_mtp ? "shared_head.norm" : "model.norm", list.model().hidden,
            outside(list));
  vocabulary(list, "head", list.model().tied_embeddings ? "model.embed_tokens" : "lm_head");
}

// What a multi-token-prediction block begins with.
void mtp_entry(WeightList& list) {
  const std::int64_t h = list.model().hidden;
  list.vector("hidden norm", "hnorm", h, outside(list));
  vocabulary(list, "embedding", "model.embed_tokens");
  list.vector("embedding norm", "enorm", h, outside(list));
  list.whole("eh_proj", "eh_proj", h, 2 * h, outside(list));
}

}  // namespace

std::int64_t portable_row(const WeightPiece& piece, std::int64_t row) {
  const WeightPiece::Pairs& p = piece.pairs;
  if (p.period == 0) return row;
  const std::int64_t in = row % p.period - p.first;
  if (in < 0 || in >= p.count) return row;
  return row - in + in % 2 * (p.count / 2) + in / 2;
}

std::vector<Weight> weights_of(BlockKind kind, int layer, const ModelSpec& model,
                               const WeightShard& shard) {
  const bool in_layer = layer >= 0;
  WeightList list(model, shard, in_layer ? fmt::format("model.layers.{}.", layer) : "");
  switch (kind) {
    case BlockKind::Attention:
      attention(list);
      break;
    case BlockKind::DenseFfn:
      list.norm("post-attention norm", "post_attention_layernorm", model.hidden, outside(list));
      model.activation == Activation::Gelu ? plain_ffn(list, model.ffn)
                                           : gated_ffn(list, "ffn", "mlp.", model.ffn);
      break;
    case BlockKind::Moe:
      moe(list);
      break;
    case BlockKind::Embedding:
      vocabulary(list, "embedding", "model.embed_tokens");
      positions(list);
      break;
    case BlockKind::Head:
      head(list, in_layer);
      break;
    case BlockKind::MtpEntry:
      mtp_entry(list);
      break;
  }
  std::vector<Weight> weights = list.take();
  name_as_stored(model, weights);
  return weights;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace narrows {
namespace {

// Builds the weights of one block under the prefix of its layer.
class WeightList {
 public:
  WeightList(const ModelSpec& model, const WeightShard& shard, std::string prefix)
      : model_(model), shard_(shard), prefix_(std::move(prefix)) {}

  void vector(const std::string& op, const std::string& name, std::int64_t n, WeightGroup group) {
    begin(op, group);
    piece({.name = named(name), .columns = n, .piece_columns = n, .stride = n, .vector = true});
  }
  // (n, k), held whole.
  void whole(const std::string& op, const std::string& name, std::int64_t n, std::int64_t k,
             WeightGroup group) {
    begin(op, group);
    rows(name, n, k, 0, n);
  }
  // Split by its rows, which are outputs.
  void by_rows(const std::string& op, const std::string& name, std::int64_t n, std::int64_t k) {
    begin(op, WeightGroup::Replicas);
    rows(name, n, k, n / shard_.tp * shard_.tp_rank, n / shard_.tp);
  }
  // Split by its columns, which are inputs.
  void by_columns(const std::string& op, const std::string& name, std::int64_t n, std::int64_t k) {
    begin(op, WeightGroup::Replicas);
    columns(name, n, k, k / shard_.tp * shard_.tp_rank, k / shard_.tp);
  }
  void begin(const std::string& op, WeightGroup group) { list_.push_back({op, group, 0, {}}); }
  void rows(const std::string& name, std::int64_t n, std::int64_t k, std::int64_t first,
            std::int64_t count) {
    piece({.name = named(name),
           .rows = n,
           .columns = k,
           .first_row = first,
           .piece_rows = count,
           .piece_columns = k,
           .stride = k});
  }
  void columns(const std::string& name, std::int64_t n, std::int64_t k, std::int64_t first,
               std::int64_t count) {
    piece({.name = named(name),
           .rows = n,
           .columns = k,
           .first_column = first,
           .piece_rows = n,
           .piece_columns = count,
           .stride = count});
  }
  // Space behind the last piece.
  void pad(std::int64_t count) { list_.back().count += count; }

  const ModelSpec& model() const { return model_; }
  const WeightShard& shard() const { return shard_; }
  // Weights that are not the layer's own.
  void append(std::vector<Weight> more) {
    std::move(more.begin(), more.end(), std::back_inserter(list_));
  }
  std::vector<Weight> take() { return std::move(list_); }

 private:
  std::string named(const std::string& name) const { return prefix_ + name + ".weight"; }
  void piece(WeightPiece p) {
    p.offset = list_.back().count;
    list_.back().count += p.piece_rows * p.stride;
    list_.back().pieces.push_back(std::move(p));
  }

  const ModelSpec& model_;
  const WeightShard& shard_;
  std::string prefix_;
  std::vector<Weight> list_;
};

// What every tensor-parallel rank holds whole, outside the region where ranks see parts: only under
// sequence parallelism are its gradients parts.
WeightGroup outside(const WeightList& list) {
  return list.shard().sequence_parallel ? WeightGroup::Stage : WeightGroup::Copies;
}

void mla(WeightList& list) {
  const AttentionSpec& a = list.model().attention;
  const int h = list.model().hidden;
  // Every rank's heads give a part of the latents' gradients.
  const WeightGroup inside = WeightGroup::Stage;
  if (a.q_lora > 0) {
    list.whole("q_a", "self_attn.q_a_proj", a.q_lora, h, inside);
    list.vector("q latent norm", "self_attn.q_a_layernorm", a.q_lora, inside);
    list.by_rows("q_b", "self_attn.q_b_proj", std::int64_t{a.heads} * a.qk_dim(), a.q_lora);
  } else {
    list.by_rows("q", "self_attn.q_proj", std::int64_t{a.heads} * a.qk_dim(), h);
  }
  list.whole("kv_a", "self_attn.kv_a_proj_with_mqa", a.kv_lora + a.qk_rope, h, inside);
  list.vector("kv latent norm", "self_attn.kv_a_layernorm", a.kv_lora, inside);
  list.by_rows("kv_b", "self_attn.kv_b_proj", std::int64_t{a.heads} * (a.qk_nope + a.v_dim),
               a.kv_lora);
}

void gqa(WeightList& list) {
  const AttentionSpec& a = list.model().attention;
  const WeightShard& s = list.shard();
  const std::int64_t h = list.model().hidden;
  const auto part = [&](const std::string& name, std::int64_t heads) {
    const std::int64_t n = heads * a.head_dim;
    list.rows(name, n, h, n / s.tp * s.tp_rank, n / s.tp);
  };
  list.begin("qkv", WeightGroup::Replicas);
  part("self_attn.q_proj", a.heads);
  part("self_attn.k_proj", a.kv_heads);
  part("self_attn.v_proj", a.kv_heads);
}

void attention(WeightList& list) {
  const AttentionSpec& a = list.model().attention;
  list.vector("input norm", "input_layernorm", list.model().hidden, outside(list));
  a.kind == AttentionKind::Mla ? mla(list) : gqa(list);
  list.by_columns("o_proj", "self_attn.o_proj", list.model().hidden,
                  std::int64_t{a.heads} * a.value_dim());
}

// Gate and up as one matrix, and down, of an FFN of intermediate size `f`.
void ffn(WeightList& list, const std::string& op, const std::string& name, std::int64_t f) {
  const WeightShard& s = list.shard();
  const std::int64_t h = list.model().hidden;
  list.begin(op + " gate_up", WeightGroup::Replicas);
  list.rows(name + "gate_proj", f, h, f / s.tp * s.tp_rank, f / s.tp);
  list.rows(name + "up_proj", f, h, f / s.tp * s.tp_rank, f / s.tp);
  list.by_columns(op + " down", name + "down_proj", h, f);
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
  list.vector("post-attention norm", "post_attention_layernorm", list.model().hidden,
              outside(list));
  // Its gradient is a part on every rank: of the tokens, or a share of each (ops_experts.cc).
  list.whole("router", "mlp.gate", moe.experts, list.model().hidden, WeightGroup::Stage);
  experts(list);
  if (moe.shared_ffn > 0) ffn(list, "shared", "mlp.shared_experts.", moe.shared_ffn);
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

void head(WeightList& list, bool of_mtp) {
  list.vector("final norm", of_mtp ? "shared_head.norm" : "model.norm", list.model().hidden,
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

std::vector<Weight> weights_of(BlockKind kind, int layer, const ModelSpec& model,
                               const WeightShard& shard) {
  const bool in_layer = layer >= 0;
  WeightList list(model, shard, in_layer ? fmt::format("model.layers.{}.", layer) : "");
  switch (kind) {
    case BlockKind::Attention:
      attention(list);
      break;
    case BlockKind::DenseFfn:
      list.vector("post-attention norm", "post_attention_layernorm", model.hidden, outside(list));
      ffn(list, "ffn", "mlp.", model.ffn);
      break;
    case BlockKind::Moe:
      moe(list);
      break;
    case BlockKind::Embedding:
      vocabulary(list, "embedding", "model.embed_tokens");
      break;
    case BlockKind::Head:
      head(list, in_layer);
      break;
    case BlockKind::MtpEntry:
      mtp_entry(list);
      break;
  }
  return list.take();
}

}  // namespace narrows

// The forward graphs of the blocks. Shapes are per rank: heads and intermediate sizes divided by
// tensor parallelism, tokens by context and sequence parallelism.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/block.h"
#include "model/graph_builder.h"

namespace narrows {

double tokens_of(const Sharding& s) {
  return static_cast<double>(s.micro_batch) * static_cast<double>(s.sequence) / s.cp;
}
double tokens_outside(const Sharding& s) {
  return s.sequence_parallel ? tokens_of(s) / s.tp : tokens_of(s);
}

namespace {

struct Site {
  const ModelSpec& model;
  const Sharding& sharding;
  GraphBuilder& b;

  Rows inside() const { return exactly(tokens_of(sharding)); }
  Rows outside() const { return exactly(tokens_outside(sharding)); }
  bool gathers() const { return sharding.tp > 1 && sharding.sequence_parallel; }
};

// Enters a tensor-parallel region: sequence parallelism gathers the tokens, else nothing moves
// forward (the input gradient is all-reduced: gradients.cc mirrors this op).
TensorId enter(const Site& site, TensorId x) {
  if (!site.gathers()) return x;
  const Tensor in = site.b.at(x);
  const TensorId out = site.b.tensor(in.name + " gathered", site.inside(), in.columns, in.dtype);
  const Bytes whole = bytes_expected(site.b.at(out));
  return site.b.collective("tp gather " + in.name, x, out,
                           {CollectiveKind::AllGather, Axis::Tp, whole, 0});
}

// Leaves it: partial sums are reduced, and scattered again under sequence parallelism.
TensorId leave(const Site& site, TensorId x) {
  if (site.sharding.tp == 1) return x;
  const Tensor in = site.b.at(x);
  const TensorId out = site.b.tensor(in.name + " reduced", site.outside(), in.columns, in.dtype);
  const CollectiveKind what =
      site.gathers() ? CollectiveKind::ReduceScatter : CollectiveKind::AllReduce;
  return site.b.collective("tp reduce " + in.name, x, out, {what, Axis::Tp, bytes_expected(in), 0});
}

AttentionShape attention_shape(const Site& site, bool window) {
  const AttentionSpec& a = site.model.attention;
  const Sharding& s = site.sharding;
  AttentionShape shape;
  // Heads take the place of tokens, or each rank has queries from all over the sequence.
  const int spread = s.cp > 1 && s.context == ContextExchange::AllToAll ? s.cp : 1;
  shape.batch = s.micro_batch;
  shape.heads = a.heads / s.tp / spread;
  const std::int64_t sample = sample_tokens(site.model, s.sequence);
  shape.batch *= static_cast<double>(s.sequence) / static_cast<double>(sample);
  shape.kv_heads =
      a.kind == AttentionKind::Mla ? shape.heads : std::max(1, a.kv_heads / s.tp / spread);
  shape.queries = std::max<std::int64_t>(sample * spread / s.cp, 1);
  shape.keys = sample;
  shape.qk_dim = a.qk_dim();
  shape.v_dim = a.value_dim();
  shape.window = window ? a.window : 0;
  return shape;
}

// The attention core over a sequence that context parallelism may have spread. `keys` columns of
// keys and values are among the inputs, `last` of which holds them.
TensorId attend(const Site& site, std::initializer_list<TensorId> qkv, TensorId last, double keys,
                bool window) {
  GraphBuilder& b = site.b;
  const Sharding& s = site.sharding;
  const AttentionSpec& a = site.model.attention;
  const double heads = static_cast<double>(a.heads) / s.tp;
  const Bytes column = site.inside().expected * size_of(b.at(last).dtype);
  const bool stepwise = s.cp > 1 && b.fusions().stepwise_context;
  if (stepwise) keys = heads * (a.qk_dim() + a.value_dim());
  TensorId gathered = kNoTensor;  // lives while attention runs; a rank keeps its own share
  if (s.cp > 1 && s.context == ContextExchange::AllToAll) {
    const Bytes sent = (heads * a.qk_dim() + keys) * column;
    b.collective("cp spread heads", last, last, {CollectiveKind::AllToAll, Axis::Cp, sent, 0});
  } else if (s.cp > 1 && s.context == ContextExchange::AllGather) {
    const Rows whole{site.inside().expected * s.cp, site.inside().bound * s.cp};
    gathered = b.tensor("keys and values of all", whole, keys, b.at(last).dtype);
    b.collective("cp gather", last, gathered,
                 {CollectiveKind::AllGather, Axis::Cp, bytes_expected(b.at(gathered)), 0});
  } else if (s.cp > 1) {
    // One message of a rank's own share; each of cp - 1 steps passes one on.
    b.collective("cp ring", last, last, {CollectiveKind::SendRecv, Axis::Cp, keys * column, 0});
  }
  const AttentionShape shape = attention_shape(site, window);
  const double queries = shape.batch * static_cast<double>(shape.queries);
  const TensorId out = b.attention(shape, qkv, exactly(queries));
  if (gathered != kNoTensor) b.last().inputs.push_back(gathered);
  if (s.cp > 1 && s.context == ContextExchange::AllToAll) {
    const Tensor had = b.at(out);
    const double columns = heads * a.value_dim();
    const TensorId back =
        b.tensor("attention out of own tokens", site.inside(), columns, had.dtype);
    return b.collective("cp spread tokens", out, back,
                        {CollectiveKind::AllToAll, Axis::Cp, bytes_expected(had), 0});
  }
  if (stepwise && s.context != ContextExchange::AllToAll) {
    // A step's output and log-sum-exp go to float32, and two subtractions and a product put them
    // where they belong: 38 bytes an element, of all queries in half of the steps and of half of
    // them in the others.
    const double passes = 38.0 / 2 * 0.75 * (s.cp - 1);
    b.memory_bound(OpKind::Elementwise, "merge partial attention", {out}, out,
                   (passes - 2) * (bytes_expected(b.at(out)) / byte));
  } else if (s.cp > 1 && s.context == ContextExchange::Ring) {
    // Each step's partial output is read and added to the sum: read, read, write.
    const double extra = (3.0 * (s.cp - 1) - 2) * (bytes_expected(b.at(out)) / byte);
    b.memory_bound(OpKind::Elementwise, "merge partial attention", {out}, out, extra);
  }
  return out;
}

// Adapters of low rank beside the projection of `x` into `out`: the only weights that train then.
void adapt(const Site& site, const std::string& name, TensorId x, TensorId out) {
  if (site.model.lora_rank == 0) return;
  GraphBuilder& b = site.b;
  const auto columns = [&](TensorId id) { return static_cast<std::int64_t>(b.at(id).columns); };
  b.freeze(false);
  const TensorId low = b.plain_linear(name + " adapter a", x, site.model.lora_rank, columns(x));
  const TensorId wide =
      b.plain_linear(name + " adapter b", low, columns(out), site.model.lora_rank);
  b.freeze(true);
  b.memory_bound(OpKind::Elementwise, name + " add adapter", {wide, out}, out);
}

TensorId mla(const Site& site, TensorId x, bool window) {
  const AttentionSpec& a = site.model.attention;
  GraphBuilder& b = site.b;
  const int h = site.model.hidden;
  const int heads = a.heads / site.sharding.tp;
  TensorId query = x;
  if (a.q_lora > 0) {
    const TensorId latent = b.linear("q_a", x, a.q_lora, h);
    adapt(site, "q_a", x, latent);
    query = b.norm("q latent norm", latent, false);
    query = b.linear("q_b", query, static_cast<std::int64_t>(heads) * a.qk_dim(), a.q_lora);
    b.last().up_projection = true;
  } else {
    query = b.linear("q", x, static_cast<std::int64_t>(heads) * a.qk_dim(), h);
    adapt(site, "q", x, query);
  }
  const TensorId latent = b.linear("kv_a", x, a.kv_lora + a.qk_rope, h);
  adapt(site, "kv_a", x, latent);
  const TensorId normed = b.norm("kv latent norm", latent, false);
  const TensorId kv =
      b.linear("kv_b", normed, static_cast<std::int64_t>(heads) * (a.qk_nope + a.v_dim), a.kv_lora);
  b.last().up_projection = true;
  // K is assembled from its part without position and the shared rotated part; q is rotated in
  // place.
  const TensorId key = b.rope(
      "rope and k assembly", {query, kv}, site.inside(), static_cast<double>(heads) * a.qk_dim(),
      static_cast<double>(heads) * (a.qk_nope + a.qk_dim() + 2 * a.qk_rope));
  return attend(site, {query, key, kv}, kv, static_cast<double>(heads) * (a.qk_dim() + a.v_dim),
                window);
}

// Where q, k and v are matmuls of their own.
TensorId split_gqa(const Site& site, TensorId x, bool window) {
  const AttentionSpec& a = site.model.attention;
  GraphBuilder& b = site.b;
  const int h = site.model.hidden;
  const double q_columns = static_cast<double>(a.heads / site.sharding.tp) * a.head_dim;
  const double kv_columns =
      static_cast<double>(std::max(1, a.kv_heads / site.sharding.tp)) * a.head_dim;
  TensorId q = b.linear("q", x, static_cast<std::int64_t>(q_columns), h);
  TensorId k = b.linear("k", x, static_cast<std::int64_t>(kv_columns), h);
  const TensorId v = b.linear("v", x, static_cast<std::int64_t>(kv_columns), h);
  adapt(site, "q", x, q);
  adapt(site, "k", x, k);
  adapt(site, "v", x, v);
  if (a.qk_norm != QkNorm::None) {
    q = b.norm("q norm", q, false);
    k = b.norm("k norm", k, false);
  }
  if (site.model.learned_positions == 0) {
    q = b.rope("rope q", {q}, site.inside(), q_columns, 2 * q_columns);
    k = b.rope("rope k", {k}, site.inside(), kv_columns, 2 * kv_columns);
  }
  return attend(site, {q, k, v}, v, 2 * kv_columns, window);
}

TensorId gqa(const Site& site, TensorId x, bool window) {
  const AttentionSpec& a = site.model.attention;
  GraphBuilder& b = site.b;
  const int heads = a.heads / site.sharding.tp;
  const int kv_heads = std::max(1, a.kv_heads / site.sharding.tp);
  const double columns = static_cast<double>(heads + 2 * kv_heads) * a.head_dim;
  if (!b.fusions().projections) return split_gqa(site, x, window);
  TensorId qkv = b.linear("qkv", x, static_cast<std::int64_t>(columns), site.model.hidden);
  adapt(site, "qkv", x, qkv);
  if (a.qk_norm != QkNorm::None) qkv = b.norm("qk norm", qkv, false);
  if (site.model.learned_positions == 0) {
    const double rotated = static_cast<double>(heads + kv_heads) * a.head_dim;
    qkv = b.rope("rope", {qkv}, site.inside(), columns, 2 * rotated);
  }
  return attend(site, {qkv}, qkv, 2.0 * kv_heads * a.head_dim, window);
}

// Rows of the vocabulary's table; split over tensor-parallel ranks, each adds what it has.
TensorId look_up(const Site& site, const std::string& name) {
  GraphBuilder& b = site.b;
  const TensorId rows = b.activation(name, site.inside(), site.model.hidden);
  b.memory_bound(OpKind::Embedding, "embedding", {}, rows, bytes_expected(b.at(rows)) / byte);
  b.last().frozen = site.model.lora_rank > 0;
  return leave(site, rows);
}

TensorId attention_block(const Site& site, TensorId x, bool window) {
  GraphBuilder& b = site.b;
  const AttentionSpec& a = site.model.attention;
  const TensorId normed = enter(site, b.norm("input norm", x, true));
  const TensorId out =
      a.kind == AttentionKind::Mla ? mla(site, normed, window) : gqa(site, normed, window);
  const int heads = a.heads / site.sharding.tp;
  return leave(site, b.linear("o_proj", out, site.model.hidden,
                              static_cast<std::int64_t>(heads) * a.value_dim()));
}

// The two or three matrices of an FFN of intermediate size `f` (already divided) over `x`.
TensorId ffn(const Site& site, const std::string& name, TensorId x, int f, int groups = 1) {
  const bool gated = site.model.activation == Activation::SwiGlu;
  if (gated && !site.b.fusions().projections) {
    const TensorId gate = site.b.linear(name + " gate", x, f, site.model.hidden, groups);
    const TensorId up = site.b.linear(name + " up", x, f, site.model.hidden, groups);
    const TensorId act = site.b.gate_fn(name + " activation", gate, up);
    return site.b.linear(name + " down", act, site.model.hidden, f, groups);
  }
  const TensorId up = site.b.linear(name + (gated ? " gate_up" : " up"), x, gated ? 2 * f : f,
                                    site.model.hidden, groups);
  const TensorId act = site.b.activation_fn(name + " activation", up, gated);
  return site.b.linear(name + " down", act, site.model.hidden, f, groups);
}

// From the first matmul of the experts to the last: what stands between them.
void mark_inside_experts(Graph& graph, std::size_t first) {
  std::size_t begin = graph.forward.size(), end = 0;
  for (std::size_t i = first; i < graph.forward.size(); ++i) {
    if (graph.forward[i].kind != OpKind::Matmul) continue;
    begin = std::min(begin, i);
    end = i;
  }
  for (std::size_t i = begin; i < end; ++i) {
    Op& op = graph.forward[i];
    op.inside_experts = op.kind == OpKind::ActivationFn || op.kind == OpKind::Quantise;
  }
}

// Megatron-Core adds the biases of the experts' outputs, weighed by the router's float
// probabilities, expert by expert: a float product and sum, their concatenation and a cast, 28
// bytes an element.
TensorId add_expert_bias(GraphBuilder& b, TensorId x) {
  const Tensor in = b.at(x);
  const TensorId out = b.activation("expert out with bias", in.rows, in.columns);
  b.memory_bound(OpKind::Elementwise, "add expert bias", {x}, out,
                 6 * (bytes_expected(in) + bytes_expected(b.at(out))) / byte);
  b.last().inside_experts = true;
  return out;
}

TensorId moe_block(const Site& site, TensorId x, const RoutedLoad& load) {
  GraphBuilder& b = site.b;
  const MoeSpec& moe = *site.model.moe;
  const Sharding& s = site.sharding;
  const int h = site.model.hidden;
  const double tokens = tokens_outside(s);
  const TensorId normed = b.norm("post-attention norm", x, true);
  const TensorId scores = b.plain_linear("router", normed, moe.experts, h);
  const TensorId chosen = b.tensor("routing", site.outside(), 3.0 * moe.top_k, Dtype::F32);
  b.graph().tensors[static_cast<std::size_t>(scores)].dtype = Dtype::F32;
  b.memory_bound(OpKind::Router, "select experts", {scores}, chosen, tokens * moe.experts * 4 * 4);
  b.last().input_grad_needs = {scores, chosen};

  // To the experts: quantised tokens where the stack sends them so.
  const bool narrow = b.fusions().quantised_dispatch && is_quantised(b.recipe());
  const TensorId sent = narrow ? b.operand(normed) : normed;
  const Bytes token = static_cast<double>(h) * size_of(b.at(sent).dtype);
  const Rows received{tokens * load.received.expected, tokens * load.received.bound};
  const Rows copies{tokens * load.copies.expected, tokens * load.copies.bound};
  const TensorId arrived = b.tensor("received tokens", received, h, b.at(sent).dtype);
  b.collective("dispatch", sent, arrived, {CollectiveKind::Dispatch, Axis::Ep, token, tokens});
  const TensorId rows = b.tensor("expert rows", copies, h, b.at(arrived).dtype);
  b.memory_bound(OpKind::Permute, "permute", {arrived}, rows,
                 b.fusions().permute ? 0 : 2 * (bytes_expected(b.at(rows)) / byte));
  TensorId gathered = rows;
  if (s.etp > 1) {
    gathered = b.tensor("expert rows gathered", {copies.expected * s.etp, copies.bound * s.etp}, h,
                        b.at(rows).dtype);
    b.collective("etp gather", rows, gathered,
                 {CollectiveKind::AllGather, Axis::Etp, bytes_expected(b.at(gathered)), 0});
  }
  const std::size_t first_expert_op = b.graph().forward.size();
  TensorId out = ffn(site, "expert", gathered, moe.expert_ffn / s.etp, moe.experts / s.ep);
  mark_inside_experts(b.graph(), first_expert_op);
  if (site.model.linear_bias) out = add_expert_bias(b, out);
  if (s.etp > 1) {
    const TensorId scattered = b.tensor("expert out scattered", copies, h, b.at(out).dtype);
    out = b.collective("etp scatter", out, scattered,
                       {CollectiveKind::ReduceScatter, Axis::Etp, bytes_expected(b.at(out)), 0});
  }
  const TensorId merged = b.activation("merged copies", received, h);
  b.memory_bound(OpKind::Permute, "unpermute", {out}, merged,
                 b.fusions().permute ? 0 : 2 * (bytes_expected(b.at(out)) / byte));
  const Bytes back = static_cast<double>(h) * size_of(b.at(merged).dtype);
  const TensorId combined = b.activation("combined", site.outside(), h);
  b.collective("combine", merged, combined, {CollectiveKind::Combine, Axis::Ep, back, tokens});

  if (moe.shared_ffn > 0) {
    const std::size_t first = b.graph().forward.size();
    const TensorId shared =
        leave(site, ffn(site, "shared", enter(site, normed), moe.shared_ffn / s.tp));
    for (std::size_t i = first; i < b.graph().forward.size(); ++i) {
      b.graph().forward[i].beside_exchange = true;
    }
    const TensorId sum = b.activation("moe out", site.outside(), h);
    if (moe.shared_gate) {
      const TensorId gate = b.plain_linear("shared gate", normed, 1, h);
      b.memory_bound(OpKind::Elementwise, "add gated shared", {combined, shared, gate}, sum);
      b.last().input_grad_needs = {shared, gate};
      return sum;
    }
    b.memory_bound(OpKind::Elementwise, "add shared", {combined, shared}, sum);
    return sum;
  }
  return combined;
}

TensorId head_block(const Site& site, TensorId x) {
  GraphBuilder& b = site.b;
  const TensorId normed = enter(site, b.norm("final norm", x, true));
  // The vocabulary is padded to a multiple.
  const int vocab = (site.model.vocab + site.sharding.tp - 1) / site.sharding.tp;
  const TensorId logits = b.plain_linear("head", normed, vocab, site.model.hidden);
  if (b.fusions().loss) {
    // The fused kernel reads the logits and leaves their gradient in their place.
    const TensorId loss = b.tensor("loss", site.inside(), 1, Dtype::F32);
    b.memory_bound(OpKind::Loss, "cross-entropy", {logits}, loss);
    b.last().input_grad_needs = {logits};
    if (b.fusions().loss_metrics) {
      // A float copy, its softmax: one metric's passes here, the other's with the gradient.
      const double elements = site.inside().expected * vocab;
      b.memory_bound(OpKind::Elementwise, "loss metrics", {}, kNoTensor, elements * (6 + 8));
    }
    return loss;
  }
  // Operation by operation: a float copy, then its softmax.
  const TensorId copy = b.tensor("float logits", site.inside(), vocab, Dtype::F32);
  b.memory_bound(OpKind::Elementwise, "logits to float", {logits}, copy);
  const TensorId softmax = b.tensor("softmax", site.inside(), vocab, Dtype::F32);
  if (b.fusions().parallel_loss) {
    // Megatron's steps read the logits three times more and write them three times more on the way.
    b.memory_bound(OpKind::Elementwise, "steps of the loss", {}, kNoTensor,
                   24 * site.inside().expected * vocab);
    b.last().frozen = true;
  }
  b.memory_bound(OpKind::Loss, "cross-entropy", {copy}, softmax);
  b.last().input_grad_needs = {softmax};
  return softmax;
}

}  // namespace

Graph build_block(const BlockKey& key, const ModelSpec& model, const RoutedLoad& load) {
  GraphBuilder b(key.recipe, key.fusions);
  b.freeze(model.lora_rank > 0);
  b.bias(model.linear_bias);
  const Site site{model, key.sharding, b};
  const int h = model.hidden;
  const TensorId x = b.activation("residual", site.outside(), h);
  TensorId out = kNoTensor;
  switch (key.kind) {
    case BlockKind::Attention:
      out = attention_block(site, x, key.window);
      break;
    case BlockKind::DenseFfn: {
      const TensorId normed = enter(site, b.norm("post-attention norm", x, true));
      out = leave(site, ffn(site, "ffn", normed, model.ffn / key.sharding.tp));
      b.graph().second_half = true;
      break;
    }
    case BlockKind::Moe:
      out = moe_block(site, x, load);
      b.graph().second_half = true;
      break;
    case BlockKind::Embedding:
      out = look_up(site, "embedded");
      break;
    case BlockKind::Head:
      out = head_block(site, x);
      break;
    case BlockKind::MtpEntry: {
      // Hidden state and the next token's embedding, each normalised, side by side into one
      // projection.
      const TensorId state = b.norm("hidden norm", x, false);
      const TensorId next = look_up(site, "next embedding");
      const TensorId both = b.activation("both", site.outside(), 2.0 * h);
      b.memory_bound(OpKind::Norm, "embedding norm", {next, state}, both);
      out = b.linear("eh_proj", both, h, 2 * static_cast<std::int64_t>(h));
      break;
    }
  }
  b.graph().input = key.kind == BlockKind::Embedding ? kNoTensor : x;
  b.graph().output = out;
  return std::move(b.graph());
}

}  // namespace narrows

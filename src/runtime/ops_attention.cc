// Queries, keys and values lie in the tensors that the projections wrote: MLA has queries,
// assembled keys, and values beside the keys' parts without position; GQA has all three side by
// side in one.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "runtime/context.h"
#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows::ops {
namespace {

bool is_mla(const OpSite& site) { return site.rank.model().attention.kind == AttentionKind::Mla; }

// Of this tensor-parallel rank. KV heads that are fewer than the ranks are held by several.
std::int64_t heads_of(const OpSite& site) {
  return site.rank.model().attention.heads / site.rank.strategy().tp;
}
std::int64_t kv_heads_of(const OpSite& site) {
  return std::max(1, site.rank.model().attention.kv_heads / site.rank.strategy().tp);
}

// Where q, k and v begin in the op's operands, given each operand's memory.
template <typename Float>
struct Operands {
  kernels::Heads<Float> q, k, v;
};
template <typename Float, typename Memory>
Operands<Float> operands_of(const OpSite& site, const Op& op, const Memory& memory) {
  const AttentionSpec& a = site.rank.model().attention;
  const std::int64_t heads = heads_of(site);
  if (is_mla(site)) {
    const std::int64_t width = heads * a.qk_dim();
    const std::int64_t kv_head = a.qk_nope + a.v_dim;
    return {{memory(op.inputs[0]), width, a.qk_dim()},
            {memory(op.inputs[1]), width, a.qk_dim()},
            {memory(op.inputs[2]) + a.qk_nope, heads * kv_head, kv_head}};
  }
  const std::int64_t kv_heads = kv_heads_of(site);
  const std::int64_t row = (heads + 2 * kv_heads) * a.head_dim;
  Float* qkv = memory(op.inputs[0]);
  Float* k = qkv + heads * a.head_dim;
  return {
      {qkv, row, a.head_dim}, {k, row, a.head_dim}, {k + kv_heads * a.head_dim, row, a.head_dim}};
}

// Without what context parallelism gathers, which lives only while the core runs.
std::span<const TensorId> own_inputs(const OpSite& site, const Op& op) {
  return std::span(op.inputs).first(is_mla(site) ? 3 : 1);
}

Operands<const float> values_of(const OpSite& site, const Op& op) {
  return operands_of<const float>(
      site, op, [&](TensorId id) { return static_cast<const float*>(site.value(id).data()); });
}

template <typename Float>
kernels::Heads<Float> output_of(const Op& op, Float* data) {
  return {data, std::int64_t{op.attention.heads} * op.attention.v_dim, op.attention.v_dim};
}

// Whether the core reads queries, keys and values as the bf16 that they are: where they are all at
// hand.
bool reads_bf16(const OpSite& site, const Op& op) {
  if (site.rank.groups.cp != nullptr || !site.rank.backend.makes_bf16()) return false;
  const std::span<const TensorId> ids = own_inputs(site, op);
  return std::all_of(ids.begin(), ids.end(),
                     [&](TensorId id) { return site.waiting_value(id).form() == Form::Bf16; });
}

KeysAndValues keys_of(const Op& op, const Operands<const float>& from) {
  return {op.attention.kv_heads, op.attention.qk_dim, op.attention.v_dim, from.k, from.v};
}

// Views of gathered keys and values.
template <typename Float>
void view_gathered(const Op& op, Float* all, kernels::Heads<Float>& k, kernels::Heads<Float>& v) {
  const AttentionShape& s = op.attention;
  const std::int64_t row = std::int64_t{s.kv_heads} * (s.qk_dim + s.v_dim);
  k = {all, row, s.qk_dim};
  v = {all + std::int64_t{s.kv_heads} * s.qk_dim, row, s.v_dim};
}

// Its operands and output are still to come.
kernels::Attention core_of(const OpSite& site, const Op& op) {
  const AttentionShape& s = op.attention;
  return {.log_sum_exp = site.value(op.outputs[1]).data(),
          .batch = static_cast<std::int64_t>(s.batch),
          .heads = s.heads,
          .kv_heads = s.kv_heads,
          .queries = s.queries,
          .keys = s.keys,
          .qk_dim = s.qk_dim,
          .v_dim = s.v_dim,
          .window = s.window,
          .sharpness = site.rank.rotary.sharpness,
          .positions = site.batch.positions.data(),
          .narrow = site.rounds()};
}

kernels::Attention core_of(const OpSite& site, const Op& op, const Operands<const float>& from) {
  kernels::Attention core = core_of(site, op);
  core.q = from.q;
  core.k = from.k;
  core.v = from.v;
  core.out = output_of(op, site.value(op.outputs[0]).data());
  return core;
}

kernels::Attention core_of_bf16(const OpSite& site, const Op& op) {
  const auto from = operands_of<const std::uint16_t>(
      site, op, [&](TensorId id) { return bf16_of(std::as_const(site.waiting_value(id))); });
  kernels::Attention core = core_of(site, op);
  core.q_narrow = from.q;
  core.k_narrow = from.k;
  core.v_narrow = from.v;
  core.out_narrow = output_of(op, bf16_of(site.waiting_value(op.outputs[0])));
  return core;
}

std::int64_t queries_of(const Op& op) {
  return static_cast<std::int64_t>(op.attention.batch) * op.attention.queries;
}

Status attend_gathered(const OpSite& site, const Op& op, kernels::Attention core,
                       const Operands<const float>& from) {
  const Storage context = TRY(gather_context(site.rank, keys_of(op, from), core.batch));
  view_gathered<const float>(op, context.data(), core.k, core.v);
  site.rank.backend.run(core);
  return {};
}

Status attend_gathered_grad(const OpSite& site, const Op& op, kernels::AttentionGrad core,
                            const Operands<const float>& from) {
  const KeyAndValueGrads mine{core.dk, core.dv};
  const std::int64_t batch = core.forward.batch;
  const Storage context = TRY(gather_context(site.rank, keys_of(op, from), batch));
  Storage dcontext = site.rank.pool.matrix(context.rows(), context.columns());
  view_gathered<const float>(op, context.data(), core.forward.k, core.forward.v);
  view_gathered<float>(op, dcontext.data(), core.dk, core.dv);
  site.rank.backend.run(core);
  return scatter_context(site.rank, keys_of(op, from), std::move(dcontext), batch, mine);
}

// Key assembly of the MLA rope op, whose operands are queries and the up-projected latent; the
// rotated part stands behind the latent that was projected.
kernels::KeyAssembly assembly_of(const OpSite& site) {
  const AttentionSpec& a = site.rank.model().attention;
  return {.shared_stride = a.kv_lora + a.qk_rope,
          .rows = std::ssize(site.batch.positions),
          .heads = heads_of(site),
          .nope = a.qk_nope,
          .value = a.v_dim,
          .positions = site.batch.positions.data(),
          .table = &site.rank.rotary.table,
          .to_bf16 = site.rounds()};
}
TensorId latent_of(const OpSite& site, const Op& op) {
  return op_at(site, site.producer(op.inputs[1])).inputs.front();
}

// Rotates what is rotated of the queries (MLA) or of queries and keys (GQA).
void rotate(const OpSite& site, Storage& x, bool back) {
  const AttentionSpec& a = site.rank.model().attention;
  const std::int64_t heads = heads_of(site);
  const std::int64_t kv_heads = kv_heads_of(site);
  kernels::Rotation op{.rows = std::ssize(site.batch.positions),
                       .positions = site.batch.positions.data(),
                       .table = &site.rank.rotary.table,
                       .back = back,
                       .to_bf16 = site.rounds() && !back};
  op.heads = is_mla(site) ? heads : heads + kv_heads;
  op.head_stride = a.qk_dim();
  op.stride = is_mla(site) ? heads * a.qk_dim() : (heads + 2 * kv_heads) * a.head_dim;
  const std::int64_t first = is_mla(site) ? a.qk_nope : 0;
  op.x = x.form() == Form::F32 ? x.data() + first : nullptr;
  op.x_narrow = x.form() == Form::F32 ? nullptr : bf16_of(x) + first;
  site.rank.backend.run(op);
}

// Of what is rotated and assembled, all in one form: bf16 if all of it lies so.
Form form_to_rotate(const OpSite& site, const Op& op) {
  std::vector<TensorId> ids = {op.inputs[0]};
  if (is_mla(site)) ids = {op.inputs[0], op.inputs[1], latent_of(site, op)};
  const bool narrow = site.made_form(op.outputs.front()) == Form::Bf16 &&
                      std::all_of(ids.begin(), ids.end(), [&](TensorId id) {
                        return site.waiting_value(id).form() == Form::Bf16;
                      });
  for (const TensorId id : ids) {
    if (!narrow) site.value(id);
  }
  return narrow ? Form::Bf16 : Form::F32;
}

// Whether the queries have been made again and are to be rotated again.
bool queries_are_fresh(const OpSite& site, const Op& op) {
  const TensorId query = op.inputs[0];
  return !site.run.rotated || !site.block.kept_by_forward[static_cast<std::size_t>(query)];
}

}  // namespace

void rope(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  Storage& in = site.waiting_value(op.inputs[0]);
  const Form form = form_to_rotate(site, op);
  Storage& out = site.make_value(op.outputs.front(), in.rows(), form);
  if (!is_mla(site)) {
    const std::size_t bytes = static_cast<std::size_t>(in.count()) * (form == Form::F32 ? 4 : 2);
    std::memcpy(out.memory(), in.memory(), bytes);
    return rotate(site, out, false);
  }
  const std::int64_t behind = site.rank.model().attention.kv_lora;
  const Storage& kv = site.waiting_value(op.inputs[1]);
  const Storage& latent = site.waiting_value(latent_of(site, op));
  kernels::KeyAssembly keys = assembly_of(site);
  keys.kv = floats_of(kv);
  keys.kv_narrow = bf16_of(kv);
  if (form == Form::F32) keys.shared = latent.data() + behind;
  if (form == Form::Bf16) keys.shared_narrow = bf16_of(latent) + behind;
  keys.key = floats_of(out);
  keys.key_narrow = bf16_of(out);
  site.rank.backend.run(keys);
  if (queries_are_fresh(site, op)) rotate(site, in, false);
  site.run.rotated = true;
}

void rope_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  Storage& dout = site.grad(op.outputs.front());
  if (!is_mla(site)) {
    rotate(site, dout, true);
    site.grad(op.inputs[0]) = std::move(dout);
    return;
  }
  rotate(site, site.grad(op.inputs[0]), true);
  const OpSite::Target dlatent = site.grad_target(latent_of(site, op), dout.rows());
  ASSERT(dlatent.fresh);
  std::fill_n(dlatent.storage.data(), dlatent.storage.count(), 0.0f);
  site.rank.backend.run(kernels::KeyAssemblyGrad{
      .forward = assembly_of(site),
      .dkey = dout.data(),
      .dkv = site.grad(op.inputs[1]).data(),
      .dshared = dlatent.storage.data() + site.rank.model().attention.kv_lora});
}

Status attention(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const std::int64_t rows = queries_of(op);
  const bool narrow = reads_bf16(site, op);
  site.make_value(op.outputs[0], rows, narrow ? Form::Bf16 : Form::F32);
  site.make_value(op.outputs[1], rows);
  if (narrow) {
    site.rank.backend.run(core_of_bf16(site, op));
    return {};
  }
  const Operands<const float> from = values_of(site, op);
  const kernels::Attention core = core_of(site, op, from);
  if (site.rank.groups.cp == nullptr) {
    site.rank.backend.run(core);
    return {};
  }
  switch (context_exchange_of(site.rank.plan)) {
    case ContextExchange::Ring:
      return ring_attention(site.rank, core);
    case ContextExchange::AllToAll:
      return spread_attention(site.rank, core);
    case ContextExchange::AllGather:
      break;
  }
  return attend_gathered(site, op, core, from);
}

Status attention_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const std::int64_t rows = std::ssize(site.batch.tokens);
  for (const TensorId id : own_inputs(site, op)) ASSERT(site.grad_target(id, rows).fresh);
  const Operands<float> to =
      operands_of<float>(site, op, [&](TensorId id) { return site.grad(id).data(); });
  const Storage& dout = site.grad(op.outputs[0]);
  kernels::AttentionGrad core{.dout = {dout.data(), dout.columns(), op.attention.v_dim},
                              .dq = to.q,
                              .dk = to.k,
                              .dv = to.v};
  if (reads_bf16(site, op) && site.waiting_value(op.outputs[0]).form() == Form::Bf16) {
    core.forward = core_of_bf16(site, op);
    site.rank.backend.run(core);
    return {};
  }
  const Operands<const float> from = values_of(site, op);
  core.forward = core_of(site, op, from);
  if (site.rank.groups.cp == nullptr) {
    site.rank.backend.run(core);
    return {};
  }
  switch (context_exchange_of(site.rank.plan)) {
    case ContextExchange::Ring:
      return ring_attention_grad(site.rank, core);
    case ContextExchange::AllToAll:
      return spread_attention_grad(site.rank, core);
    case ContextExchange::AllGather:
      break;
  }
  return attend_gathered_grad(site, op, core, from);
}

Status spread_tokens(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  if (op.inputs == op.outputs) return {};  // to the heads: the core's own business
  Storage& tokens = site.make_value(op.outputs.front(), std::ssize(site.batch.tokens));
  return heads_to_tokens(site.rank, site.rank.strategy().micro_batch, site.value(op.inputs.front()),
                         tokens);
}

Status spread_tokens_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  if (op.inputs == op.outputs) return {};
  const Storage& tokens = site.grad(op.outputs.front());
  const OpSite::Target heads =
      site.grad_target(op.inputs.front(), tokens.rows() * site.rank.strategy().cp);
  return tokens_to_heads(site.rank, site.rank.strategy().micro_batch, tokens, heads.storage);
}

}  // namespace narrows::ops

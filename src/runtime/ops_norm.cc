// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows::ops {
namespace {

// Of MLA's latent only the part in front of the rotated key is normalised.
std::int64_t normalised(const OpSite& site, const Op& op) {
  return op.name == "kv latent norm" ? site.rank.model().attention.kv_lora
                                     : site.columns(op.inputs.front());
}

// In the form in which it lies, floats or bf16.
Storage& as_it_lies(const OpSite& site, Storage& storage) {
  if (storage.form() == Form::Fp8) unpack(storage, site.rank.backend, site.rank.pool);
  return storage;
}

kernels::Norm forward_of(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& x = as_it_lies(site, site.waiting_value(op.inputs.front()));
  return {.x = floats_of(x),
          .weight = site.weight(index).value,
          .rows = x.rows(),
          .columns = normalised(site, op),
          .stride = x.columns(),
          .epsilon = static_cast<float>(site.rank.numerics.norm_epsilon),
          .to_bf16 = site.rounds(),
          .x_narrow = bf16_of(x)};
}

bool is_layer_norm(const OpSite& site) { return site.rank.model().norm == NormKind::Layer; }

kernels::LayerNorm layer_norm_of(const OpSite& site, int index) {
  const Storage& x = site.value(op_at(site, index).inputs.front());
  return {.x = x.data(),
          .weight = site.weight(index).value,
          .bias = site.bias(index)->value,
          .rows = x.rows(),
          .columns = x.columns(),
          .epsilon = static_cast<float>(site.rank.numerics.norm_epsilon),
          .to_bf16 = site.rounds()};
}

// What the gradient of a norm is made of, whichever its kind.
struct Gradient {
  const float* dy = nullptr;
  const float* add = nullptr;
  float* dx = nullptr;
};
void run_layer_norm_grad(const OpSite& site, int index, const Gradient& g) {
  const kernels::LayerNorm forward = layer_norm_of(site, index);
  Storage statistics = site.rank.pool.matrix(forward.rows, 2);
  site.rank.backend.run(kernels::LayerNormGrad{.forward = forward,
                                               .dy = g.dy,
                                               .add = g.add,
                                               .dx = g.dx,
                                               .statistics = statistics.data(),
                                               .dweight = site.weight(index).gradient,
                                               .dbias = site.bias(index)->gradient});
}
void run_norm_grad(const OpSite& site, int index, const Gradient& g) {
  const kernels::Norm forward = forward_of(site, index);
  Storage inverse_rms = site.rank.pool.matrix(1, forward.rows);
  site.rank.backend.run(kernels::NormGrad{.forward = forward,
                                          .dy = g.dy,
                                          .add = g.add,
                                          .dx = g.dx,
                                          .inverse_rms = inverse_rms.data(),
                                          .dweight = site.weight(index).gradient});
}

// Of the heads of queries and keys that lie side by side with the values.
kernels::HeadNorm head_norm_of(const OpSite& site, int index) {
  const AttentionSpec& a = site.rank.model().attention;
  const int tp = site.rank.strategy().tp;
  const Storage& x = site.value(op_at(site, index).inputs.front());
  kernels::HeadNorm op{.x = x.data(),
                       .weight = site.weight(index).value,
                       .rows = x.rows(),
                       .heads = a.heads / tp,
                       .key_heads = std::max(1, a.kv_heads / tp),
                       .dim = a.head_dim,
                       .stride = x.columns(),
                       .epsilon = static_cast<float>(site.rank.numerics.norm_epsilon),
                       .to_bf16 = site.rounds()};
  if (a.qk_norm != QkNorm::Full) return op;
  op.dim = op.heads * a.head_dim;
  op.key_dim = op.key_heads * a.head_dim;
  op.heads = op.key_heads = 1;
  return op;
}

}  // namespace

void head_norm(const OpSite& site, int index) {
  kernels::HeadNorm op = head_norm_of(site, index);
  op.y = site.make_value(op_at(site, index).outputs.front(), op.rows).data();
  site.rank.backend.run(op);
}

void head_norm_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& dy = site.grad(op.outputs.front());
  const OpSite::Target dx = site.grad_target(op.inputs.front(), dy.rows());
  ASSERT(dx.fresh);
  const kernels::HeadNorm forward = head_norm_of(site, index);
  Storage inverse_rms = site.rank.pool.matrix(forward.rows, forward.heads + forward.key_heads);
  site.rank.backend.run(kernels::HeadNormGrad{.forward = forward,
                                              .dy = dy.data(),
                                              .dx = dx.storage.data(),
                                              .inverse_rms = inverse_rms.data(),
                                              .dweight = site.weight(index).gradient});
}

void norm(const OpSite& site, int index) {
  if (is_layer_norm(site)) {
    kernels::LayerNorm op = layer_norm_of(site, index);
    op.y = site.make_value(op_at(site, index).outputs.front(), op.rows).data();
    return site.rank.backend.run(op);
  }
  const TensorId out = op_at(site, index).outputs.front();
  const Form form = site.made_form(out);
  if (form == Form::F32) site.value(op_at(site, index).inputs.front());  // which are floats then
  kernels::Norm op = forward_of(site, index);
  Storage& y = site.make_value(out, op.rows, form);
  op.y = floats_of(y);
  op.y_narrow = bf16_of(y);
  site.rank.backend.run(op);
}

// The norm that a block begins with gives the residual stream's gradient: its own part and what
// went round the block. Where tensor-parallel ranks see all tokens, their parts are summed before
// it.
Status norm_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const TensorId in = op.inputs.front();
  Storage& dy = site.grad(op.outputs.front());
  // The entry of a multi-token-prediction block is no branch of the stream: chunk_pass.cc adds what
  // went past it.
  const bool begins = in == site.block.graph.input && site.block.kind != BlockKind::MtpEntry;
  const Group& tp = site.rank.groups.tp;
  if (begins && tp != nullptr && !site.rank.strategy().sequence_parallel) {
    TRY(tp->all_reduce(Buffer(dy.data(), dy.count(), Element::F32)));
  }
  const Storage& around = site.grad(site.block.graph.output);
  const OpSite::Target dx = site.grad_target(in, dy.rows());
  ASSERT(dx.fresh);
  const Gradient gradient{dy.data(), begins && around.held() ? around.data() : nullptr,
                          dx.storage.data()};
  is_layer_norm(site) ? run_layer_norm_grad(site, index, gradient)
                      : run_norm_grad(site, index, gradient);
  return {};
}

void add_residual(const OpSite& site) {
  Storage& stream = site.waiting_value(site.block.graph.input);
  if (stream.held() || site.run_before == nullptr) return;
  const Graph& before = site.block_before->graph;
  const OpSite there{site.rank, *site.block_before, *site.run_before, site.batch};
  Storage& output = as_it_lies(there, there.waiting_value(before.output));
  const bool after_entry = site.block_before->kind == BlockKind::MtpEntry;
  if (before.input == kNoTensor || (after_entry && site.block.layer == site.block_before->layer)) {
    stream = std::move(output);  // the embedding begins the stream, a prediction block its own
    return;
  }
  if (after_entry) {  // which went past the block
    const Storage& carried = there.value(before.input);
    stream = site.rank.pool.matrix(carried.rows(), carried.columns());
    std::copy_n(carried.data(), carried.count(), stream.data());
    return;
  }
  const Form form = site.made_form(site.block.graph.input);
  if (form == Form::F32) there.value(before.output);
  const Storage& carried = form == Form::F32 ? there.value(before.input)
                                             : as_it_lies(there, there.waiting_value(before.input));
  stream = site.rank.pool.matrix(output.rows(), output.columns(), form);
  site.rank.backend.run(kernels::Add{floats_of(carried), floats_of(output), floats_of(stream),
                                     stream.count(), site.rounds(), bf16_of(carried),
                                     bf16_of(output), bf16_of(stream)});
}

}  // namespace narrows::ops

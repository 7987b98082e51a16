// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/ops.h"

namespace narrows::ops {
namespace {

// Of MLA's latent only the part in front of the rotated key is normalised.
std::int64_t normalised(const OpSite& site, const Op& op) {
  return op.name == "kv latent norm" ? site.rank.model().attention.kv_lora
                                     : site.columns(op.inputs.front());
}

kernels::Norm forward_of(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& x = site.value(op.inputs.front());
  return {.x = x.data(),
          .weight = site.weight(index).value,
          .rows = x.rows(),
          .columns = normalised(site, op),
          .stride = x.columns(),
          .epsilon = static_cast<float>(site.rank.numerics.norm_epsilon),
          .to_bf16 = site.rounds()};
}

}  // namespace

void norm(const OpSite& site, int index) {
  kernels::Norm op = forward_of(site, index);
  op.y = site.make_value(op_at(site, index).outputs.front(), op.rows).data();
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
  Storage inverse_rms = site.rank.pool.matrix(1, dy.rows());
  site.rank.backend.run(kernels::NormGrad{.forward = forward_of(site, index),
                                          .dy = dy.data(),
                                          .add = begins && around.held() ? around.data() : nullptr,
                                          .dx = dx.storage.data(),
                                          .inverse_rms = inverse_rms.data(),
                                          .dweight = site.weight(index).gradient});
  return {};
}

void add_residual(const OpSite& site) {
  Storage& stream = site.value(site.block.graph.input);
  if (stream.held() || site.run_before == nullptr) return;
  const Graph& before = site.block_before->graph;
  const OpSite there{site.rank, *site.block_before, *site.run_before, site.batch};
  Storage& output = there.value(before.output);
  const bool after_entry = site.block_before->kind == BlockKind::MtpEntry;
  if (before.input == kNoTensor || (after_entry && site.block.layer == site.block_before->layer)) {
    stream = std::move(output);  // the embedding begins the stream, a prediction block its own
    return;
  }
  const Storage& carried = there.value(before.input);
  if (after_entry) {  // which went past the block
    stream = site.rank.pool.matrix(carried.rows(), carried.columns());
    std::copy_n(carried.data(), carried.count(), stream.data());
    return;
  }
  stream = site.rank.pool.matrix(output.rows(), output.columns());
  site.rank.backend.run(
      kernels::Add{carried.data(), output.data(), stream.data(), stream.count(), site.rounds()});
}

}  // namespace narrows::ops

// SPDX-License-Identifier: Apache-2.0
#include "runtime/block_pass.h"

#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows {
namespace {

Status run_collective(const OpSite& site, int index) {
  const CollectiveShape& shape = ops::op_at(site, index).collective;
  switch (shape.axis) {
    case Axis::Tp:
      return ops::tensor_collective(site, index);
    case Axis::Ep:
      return shape.what == CollectiveKind::Dispatch ? ops::dispatch(site, index)
                                                    : ops::combine(site, index);
    case Axis::Etp:
      return shape.what == CollectiveKind::AllGather ? ops::gather_copies(site, index)
                                                     : ops::scatter_copies(site, index);
    default:
      // Context parallelism: attention gathers keys and values itself.
      return shape.what == CollectiveKind::AllToAll ? ops::spread_tokens(site, index) : Status();
  }
}

Status run_collective_input_grad(const OpSite& site, int index) {
  const CollectiveShape& shape = ops::op_at(site, index).collective;
  switch (shape.axis) {
    case Axis::Tp:
      return ops::tensor_collective_input_grad(site, index);
    case Axis::Ep:
      return shape.what == CollectiveKind::Dispatch ? ops::dispatch_input_grad(site, index)
                                                    : ops::combine_input_grad(site, index);
    case Axis::Etp:
      return shape.what == CollectiveKind::AllGather ? ops::gather_copies_input_grad(site, index)
                                                     : ops::scatter_copies_input_grad(site, index);
    default:
      return shape.what == CollectiveKind::AllToAll ? ops::spread_tokens_input_grad(site, index)
                                                    : Status();
  }
}

// Once an op, so that a rank that computes for long is not taken to hang.
void say_alive(const OpSite& site) {
  if (site.rank.groups.world != nullptr) site.rank.groups.world->alive();
}

Status run_forward(const OpSite& site, int index) {
  say_alive(site);
  const Op& op = ops::op_at(site, index);
  switch (op.kind) {
    case OpKind::Matmul:
      ops::linear(site, index);
      return {};
    case OpKind::Attention:
      return ops::attention(site, index);
    case OpKind::Norm:
      ops::is_head_norm(op) ? ops::head_norm(site, index)
      : ops::is_join(op)    ? ops::join_next(site, index)
                            : ops::norm(site, index);
      return {};
    case OpKind::Rope:
      ops::rope(site, index);
      return {};
    case OpKind::ActivationFn:
      ops::activation(site, index);
      return {};
    case OpKind::Elementwise:
      if (op.outputs.empty()) ops::add_residual(site);
      if (op.inputs.size() == 2) ops::add_outputs(site, index);
      if (op.inputs.size() == 3) ops::gated_sum(site, index);
      return {};
    case OpKind::Router:
      ops::router(site, index);
      return {};
    case OpKind::Permute:
      ops::permute(site, index);
      return {};
    case OpKind::Embedding:
      ops::embedding(site, index);
      return {};
    case OpKind::Loss:
      return ops::loss(site, index);
    case OpKind::Collective:
      return run_collective(site, index);
    case OpKind::Quantise:
    case OpKind::Optimizer:
      break;
  }
  return unsupported("the runtime does not run the op '" + op.name + "'");
}

Status run_input_grad(const OpSite& site, int index) {
  say_alive(site);
  const Op& op = ops::op_at(site, index);
  switch (op.kind) {
    case OpKind::Matmul:
      ops::linear_input_grad(site, index);
      return {};
    case OpKind::Attention:
      return ops::attention_input_grad(site, index);
    case OpKind::Norm:
      if (!ops::is_head_norm(op) && !ops::is_join(op)) return ops::norm_input_grad(site, index);
      ops::is_head_norm(op) ? ops::head_norm_input_grad(site, index)
                            : ops::join_next_input_grad(site, index);
      return {};
    case OpKind::Rope:
      ops::rope_input_grad(site, index);
      return {};
    case OpKind::ActivationFn:
      ops::activation_input_grad(site, index);
      return {};
    case OpKind::Elementwise:
      if (op.inputs.size() == 3) ops::gated_sum_input_grad(site, index);
      return {};  // sums hand their gradient on unchanged
    case OpKind::Router:
      return ops::router_input_grad(site, index);
    case OpKind::Permute:
      ops::permute_input_grad(site, index);
      return {};
    case OpKind::Loss:
      ops::loss_input_grad(site, index);
      return {};
    case OpKind::Collective:
      return run_collective_input_grad(site, index);
    default:
      return {};
  }
}

Status run_weight_grad(const OpSite& site, int index) {
  say_alive(site);
  switch (ops::op_at(site, index).kind) {
    case OpKind::Matmul:
      ops::linear_weight_grad(site, index);
      return {};
    case OpKind::Embedding:
      ops::embedding_weight_grad(site, index);
      return {};
    case OpKind::Collective:
      return run_collective(site, index);  // tokens gathered again for W
    default:
      return {};
  }
}

// The rows that an op works on: of what it makes or, once that is gone, of what it reads.
std::int64_t rows_of(const OpSite& site, int index) {
  const Op& op = ops::op_at(site, index);
  for (const std::vector<TensorId>* ids : {&op.outputs, &op.inputs}) {
    if (ids->empty()) continue;
    if (site.waiting_value(ids->front()).held()) return site.waiting_value(ids->front()).rows();
    if (site.waiting_grad(ids->front()).held()) return site.waiting_grad(ids->front()).rows();
  }
  return 0;
}

using RunOp = Status (*)(const OpSite& site, int index);
Status run_timed(const OpSite& site, Pass pass, int index, RunOp run) {
  const std::int64_t before = rows_of(site, index);
  OpTimer timer(site.rank.log, site.label(pass, index), before);
  TRY(run(site, index));
  if (before == 0) timer.set_rows(rows_of(site, index));
  return {};
}

// The gradient of an op's results is used up once the op has run, unless W or the stream needs it.
void drop_used_grads(const OpSite& site, int index) {
  const Op& op = ops::op_at(site, index);
  if (op.outputs == op.inputs) return;  // in place
  for (const TensorId id : op.outputs) {
    const std::size_t i = static_cast<std::size_t>(id);
    if (site.block.grad_alias[i] != kNoTensor || site.block.grad_kept[i]) continue;
    if (id != site.block.graph.output) site.run.grad[i].release();
  }
}

void keep_only(std::vector<Storage>& tensors, const std::vector<bool>& kept) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!kept[i]) tensors[i].release();
  }
}

void pack_all(const OpSite& site, std::vector<Storage>& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    pack(tensors[i], site.block.form[i], site.rank.backend, site.rank.pool);
  }
}

}  // namespace

Status forward(const OpSite& site) {
  const std::size_t tensors = site.block.value_alias.size();
  site.run.value.resize(tensors);
  site.run.grad.resize(tensors);
  // Its first norm joins nothing: the stream passes by.
  if (site.block.kind == BlockKind::MtpEntry) ops::add_residual(site);
  for (int i = 0; i < std::ssize(site.block.graph.forward); ++i) {
    TRY(run_timed(site, Pass::Forward, i, run_forward));
  }
  return {};
}

void drop_after_forward(const OpSite& site) {
  keep_only(site.run.value, site.block.kept_by_forward);
  pack_all(site, site.run.value);
}

void pack_for_weight_grad(const OpSite& site) {
  pack_all(site, site.run.value);
  pack_all(site, site.run.grad);
}

Status recompute(const OpSite& site) {
  if (site.run.remade) return {};
  site.run.remade = true;
  for (const Op& op : site.block.graph.recompute) {
    TRY(run_timed(site, Pass::Remake, op.forward, run_forward));
  }
  return {};
}

Status input_grad(const OpSite& site) {
  TRY(recompute(site));
  for (const Op& op : site.block.graph.input_grad) {
    if (op.forward < 0) continue;
    TRY(run_timed(site, Pass::InputGrad, op.forward, run_input_grad));
    drop_used_grads(site, op.forward);
  }
  keep_only(site.run.value, site.block.kept_by_input_grad);
  return {};
}

Status weight_grad(const OpSite& site) {
  for (const Op& op : site.block.graph.weight_grad) {
    if (op.forward >= 0) TRY(run_timed(site, Pass::WeightGrad, op.forward, run_weight_grad));
  }
  site.run = BlockRun();
  return {};
}

}  // namespace narrows

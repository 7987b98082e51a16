// SPDX-License-Identifier: Apache-2.0
#include "runtime/block_run.h"

#include <algorithm>

namespace narrows {
namespace {

std::size_t at(TensorId id) { return static_cast<std::size_t>(id); }

TensorId resolve(const std::vector<TensorId>& alias, TensorId id) {
  while (alias[at(id)] != kNoTensor) id = alias[at(id)];
  return id;
}

// The ops whose result is their operand, on this layout.
void find_aliases(Block& block, const Strategy& s) {
  for (const Op& op : block.graph.forward) {
    if (op.kind == OpKind::Elementwise && op.inputs.size() == 2) {
      for (const TensorId id : op.inputs) block.grad_alias[at(id)] = op.outputs.front();
    }
    if (op.kind != OpKind::Collective) continue;
    const TensorId in = op.inputs.front();
    const TensorId out = op.outputs.front();
    if (op.collective.what == CollectiveKind::Dispatch && s.ep == 1) {
      block.value_alias[at(out)] = in;
      block.grad_alias[at(out)] = in;
    }
    if (op.collective.what == CollectiveKind::Combine && s.ep == 1) {
      block.value_alias[at(out)] = in;
      block.grad_alias[at(in)] = out;
    }
    if (op.collective.what == CollectiveKind::AllReduce) block.grad_alias[at(in)] = out;
  }
}

void find_lifetimes(Block& block) {
  const Graph& g = block.graph;
  const auto keep = [](std::vector<bool>& set, const std::vector<TensorId>& alias, TensorId id) {
    if (id < std::ssize(set)) set[at(resolve(alias, id))] = true;
  };
  for (const TensorId id : g.kept_for_input) keep(block.kept_by_forward, block.value_alias, id);
  for (const TensorId id : g.kept_for_weight) {
    keep(block.kept_by_forward, block.value_alias, id);
    keep(block.kept_by_input_grad, block.value_alias, id);
  }
  for (const TensorId id : g.handed_to_weight) {
    keep(block.kept_by_input_grad, block.value_alias, id);
  }
  for (const Op& op : g.weight_grad) {
    if (op.forward < 0) continue;
    const Op& forward = g.forward[static_cast<std::size_t>(op.forward)];
    if (forward.kind == OpKind::Matmul || forward.kind == OpKind::Embedding) {
      keep(block.grad_kept, block.grad_alias, forward.outputs.front());
    }
  }
}

// The rows that were looked up: to look them up again may need other ranks.
void keep_next_embedding(Block& block) {
  for (const Op& op : block.graph.forward) {
    if (op.kind == OpKind::Norm && op.inputs.size() == 2) {
      block.kept_by_forward[at(resolve(block.value_alias, op.inputs.front()))] = true;
    }
  }
}

}  // namespace

Block make_block(BlockKind kind, int layer, Recompute recompute, const RankContext& rank) {
  // What the runtime's own kernels fuse.
  Fusions fusions;
  fusions.norm_residual = false;
  Block block;
  block.kind = kind;
  block.layer = layer;
  block.graph = build_block({.kind = kind,
                             .sharding = sharding_of(rank.plan),
                             .recipe = Recipe::F32,
                             .fusions = fusions,
                             .window = layer >= 0 && has_window(rank.model(), layer)},
                            rank.model());
  const std::size_t tensors = block.graph.tensors.size();
  differentiate(block.graph, recompute, fusions);
  block.value_alias.assign(tensors, kNoTensor);
  block.grad_alias.assign(tensors, kNoTensor);
  block.kept_by_forward.assign(tensors, false);
  block.kept_by_input_grad.assign(tensors, false);
  block.grad_kept.assign(tensors, false);
  find_aliases(block, rank.strategy());
  find_lifetimes(block);
  if (kind == BlockKind::MtpEntry && recompute != Recompute::Full) keep_next_embedding(block);
  for (Weight& w : weights_of(kind, layer, rank.model(), weight_shard(rank))) {
    block.weights.push_back({std::move(w)});
  }
  for (const Op& op : block.graph.forward) {
    const auto found = std::find_if(block.weights.begin(), block.weights.end(),
                                    [&](const BoundWeight& w) { return w.weight.op == op.name; });
    block.weight_of_op.push_back(
        found == block.weights.end() ? -1 : static_cast<int>(found - block.weights.begin()));
  }
  return block;
}

Storage& OpSite::value(TensorId id) const { return run.value[at(resolve(block.value_alias, id))]; }

Storage& OpSite::grad(TensorId id) const { return run.grad[at(resolve(block.grad_alias, id))]; }

std::int64_t OpSite::columns(TensorId id) const {
  return static_cast<std::int64_t>(block.graph.tensors[at(id)].columns);
}

Storage& OpSite::make_value(TensorId id, std::int64_t rows) const {
  Storage& storage = value(id);
  if (!storage.held()) storage = rank.pool.matrix(rows, columns(id));
  ASSERT(storage.rows() == rows);
  return storage;
}

OpSite::Target OpSite::grad_target(TensorId id, std::int64_t rows) const {
  Storage& storage = grad(id);
  const bool fresh = !storage.held();
  if (fresh) storage = rank.pool.matrix(rows, columns(id));
  ASSERT(storage.rows() == rows);
  return {storage, fresh};
}

const BoundWeight& OpSite::weight(int forward_op) const {
  const int index = block.weight_of_op[static_cast<std::size_t>(forward_op)];
  ASSERT(index >= 0);
  return block.weights[static_cast<std::size_t>(index)];
}

int OpSite::producer(TensorId id) const {
  const std::vector<Op>& ops = block.graph.forward;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const std::vector<TensorId>& made = ops[i].outputs;
    if (std::find(made.begin(), made.end(), id) != made.end()) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace narrows

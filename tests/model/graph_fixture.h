// Graphs of blocks in a few words, and sums over their ops.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "model/block.h"
#include "model/builtin.h"

namespace narrows {

inline ModelSpec model_named(const std::string& name) {
  const Result<BuiltinModel> model = builtin_model(name);
  if (!model) FAIL(model.error().message);
  return model->spec;
}

// What DeepSeek-V3's own stack does.
inline Fusions narrow_fusions() {
  Fusions fusions;
  fusions.quantised_activations = true;
  fusions.quantised_dispatch = true;
  return fusions;
}

// What torchtitan does without a compiler: one kernel an operation, recomputation op by op.
inline Fusions eager_fusions() {
  Fusions fusions;
  fusions.norm = fusions.rope = fusions.norm_residual = fusions.projections = false;
  fusions.selective_by_op = fusions.recompute_stops_early = true;
  return fusions;
}

inline Graph differentiated(const BlockKey& key, const ModelSpec& model, Recompute recompute,
                            const RoutedLoad& load = {}) {
  Graph graph = build_block(key, model, load);
  differentiate(graph, recompute, key.fusions);
  return graph;
}

// The op of this name; fails the test if there is none.
inline const Op& op_named(const std::vector<Op>& ops, const std::string& name) {
  for (const Op& op : ops) {
    if (op.name == name) return op;
  }
  FAIL("no op " + name);
  return ops.front();
}

inline double flops_of(const std::vector<Op>& ops) {
  double sum = 0;
  for (const Op& op : ops) sum += executed_flops(op) / flop;
  return sum;
}
inline double matmul_flops_of(const std::vector<Op>& ops) {
  double sum = 0;
  for (const Op& op : ops) {
    if (op.kind == OpKind::Matmul) sum += executed_flops(op) / flop;
  }
  return sum;
}

// The blocks of an item, in order.
inline std::vector<BlockKind> blocks_of(ItemKind item, bool moe) {
  switch (item) {
    case ItemKind::Embedding:
      return {BlockKind::Embedding};
    case ItemKind::DenseLayer:
      return {BlockKind::Attention, BlockKind::DenseFfn};
    case ItemKind::MoeLayer:
      return {BlockKind::Attention, BlockKind::Moe};
    case ItemKind::MtpBlock:
      return {BlockKind::MtpEntry, BlockKind::Attention, moe ? BlockKind::Moe : BlockKind::DenseFfn,
              BlockKind::Head};
    case ItemKind::Head:
      return {BlockKind::Head};
  }
  return {};
}

// Every expert gets its share; `received` distinct tokens per token sent.
inline RoutedLoad balanced(double copies, double received) {
  return {{received, received}, {copies, copies}};
}

}  // namespace narrows

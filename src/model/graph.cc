// SPDX-License-Identifier: Apache-2.0
#include "model/graph.h"

#include <algorithm>
#include <cmath>

namespace narrows {

Bytes bytes_expected(const Tensor& tensor) {
  return tensor.rows.expected * tensor.columns * size_of(tensor.dtype);
}
Bytes bytes_bound(const Tensor& tensor) {
  return tensor.rows.bound * tensor.columns * size_of(tensor.dtype);
}

namespace {

// Whole bytes, so that sums over a program are exact in any order (a dispatch brings a mean number
// of rows).
Bytes sum(const Graph& graph, const std::vector<TensorId>& ids) {
  Bytes total;
  for (const TensorId id : ids) {
    const Bytes bytes = bytes_bound(graph.tensors[static_cast<std::size_t>(id)]);
    total += std::ceil(bytes / byte) * byte;
  }
  return total;
}

Bytes largest_step(const Graph& graph, const std::vector<Op>& ops) {
  Bytes largest;
  for (const Op& op : ops) largest = max(largest, sum(graph, op.inputs) + sum(graph, op.outputs));
  return largest;
}

}  // namespace

KeptBytes kept_bytes(const Graph& graph) {
  return {sum(graph, graph.kept_for_input), sum(graph, graph.kept_for_weight),
          sum(graph, graph.handed_to_weight), sum(graph, graph.in_place)};
}

TransientBytes transient_bytes(const Graph& graph) {
  // What is recomputed lives until the pass ends; what W needs of it is counted with what I hands
  // over.
  std::vector<TensorId> own;
  for (const Op& op : graph.recompute) {
    for (const TensorId id : op.outputs) {
      const auto& handed = graph.handed_to_weight;
      if (std::find(handed.begin(), handed.end(), id) == handed.end()) own.push_back(id);
    }
  }
  const Bytes recomputed = sum(graph, own);
  return {largest_step(graph, graph.forward), largest_step(graph, graph.input_grad) + recomputed,
          largest_step(graph, graph.weight_grad)};
}

double keys_attended(const AttentionShape& shape) {
  const double keys = static_cast<double>(shape.keys), window = shape.window;
  if (shape.window <= 0 || window >= keys) return shape.causal ? keys / 2 : keys;
  // The first queries see fewer keys than the window has.
  return shape.causal ? window - window * window / (2 * keys) : window;
}

Flops executed_flops(const Op& op) {
  if (op.kind == OpKind::Matmul) {
    const MatmulShape& s = op.matmul;
    return 2 * s.m.expected * static_cast<double>(s.n) * static_cast<double>(s.k) * flop;
  }
  if (op.kind != OpKind::Attention) return {};
  const AttentionShape& a = op.attention;
  const double queries = static_cast<double>(a.queries);
  const double keys = keys_attended(a);
  const double dims =
      op.direction == Direction::Forward ? a.qk_dim + a.v_dim : 3 * a.qk_dim + 2 * a.v_dim;
  return 2 * a.batch * a.heads * queries * keys * dims * flop;
}

}  // namespace narrows

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

bool has(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

void include(std::vector<TensorId>& ids, TensorId id) {
  if (id != kNoTensor && !has(ids, id)) ids.push_back(id);
}

// When a pass's tensors live: from the first op that names one to the last.
class Lifetimes {
 public:
  explicit Lifetimes(const std::vector<Op>& ops) {
    for (std::size_t at = 0; at < ops.size(); ++at) {
      for (const auto* ids : {&ops[at].inputs, &ops[at].outputs}) {
        for (const TensorId id : *ids) name(id, at);
      }
    }
  }
  // `id` is named by the op at `at`, too.
  void name(TensorId id, std::size_t at) {
    if (id == kNoTensor) return;
    const auto found = std::find(ids_.begin(), ids_.end(), id);
    if (found == ids_.end()) {
      ids_.push_back(id);
      spans_.push_back({at, at});
      return;
    }
    Span& span = spans_[static_cast<std::size_t>(found - ids_.begin())];
    span = {std::min(span.first, at), std::max(span.last, at)};
  }
  std::vector<TensorId> alive(std::size_t at) const {
    std::vector<TensorId> alive;
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      if (spans_[i].first <= at && at <= spans_[i].last) alive.push_back(ids_[i]);
    }
    return alive;
  }

 private:
  struct Span {
    std::size_t first, last;
  };
  std::vector<TensorId> ids_;
  std::vector<Span> spans_;
};

std::vector<TensorId> kept_of(const Graph& graph) {
  std::vector<TensorId> kept = graph.kept_for_input;
  for (const TensorId id : graph.kept_for_weight) include(kept, id);
  return kept;
}

// The most at once beside what stays: what `ops` make of it comes one by one.
Bytes pass_transient(const Graph& graph, const std::vector<Op>& ops,
                     const std::vector<TensorId>& stays) {
  if (ops.empty()) return {};
  Lifetimes lives(ops);
  lives.name(graph.output, ops.size() - 1);
  std::vector<TensorId> later;  // stays, and is made by an op that has not run yet
  for (const Op& op : ops) {
    for (const TensorId id : op.outputs) {
      if (has(stays, id)) include(later, id);
    }
  }
  Bytes most;
  for (std::size_t at = 0; at < ops.size(); ++at) {
    for (const TensorId id : ops[at].outputs) std::erase(later, id);
    std::vector<TensorId> alive = lives.alive(at);
    std::erase_if(alive, [&](TensorId id) { return has(stays, id); });
    most = max(most, sum(graph, alive) - sum(graph, later));
  }
  return most;
}

// The most gradients at once; of matmuls whose W waits, those that are handed to it are not among
// them. A narrow recipe lays its output gradient out once more, for W.
Bytes gradient_transient(const Graph& graph, bool handed) {
  const Lifetimes lives(graph.input_grad);
  Bytes most;
  for (std::size_t at = 0; at < graph.input_grad.size(); ++at) {
    const Op& op = graph.input_grad[at];
    std::vector<TensorId> alive = lives.alive(at);
    std::erase_if(alive, [&](TensorId id) { return has(graph.in_place, id); });
    Bytes copy;
    if (op.kind == OpKind::Matmul && !op.frozen) {
      const TensorId gradient = op.inputs.front();
      const Tensor& tensor = graph.tensors[static_cast<std::size_t>(gradient)];
      if (!is_quantised(op.precision)) {
        if (handed) std::erase(alive, gradient);
      } else if (!handed) {
        copy = tensor.rows.bound * tensor.columns * size_of(operand_dtype(op.precision));
      }
    }
    most = max(most, sum(graph, alive) + std::ceil(copy / byte) * byte);
  }
  return most;
}

// Of what I hands to W: gradients that lie where a kept tensor was.
Bytes handed_in_place(const Graph& graph) {
  std::vector<TensorId> handed;
  for (const Op& op : graph.forward) {
    if (op.kind == OpKind::Matmul && has(graph.in_place, op.outputs.front()))
      include(handed, op.outputs.front());
  }
  return sum(graph, handed);
}

// What W gathers again.
Bytes weight_transient(const Graph& graph) {
  Bytes most;
  for (const Op& op : graph.weight_grad) {
    if (op.kind == OpKind::Collective) most = max(most, sum(graph, op.outputs));
  }
  return most;
}

// Whether a gradient reads the tensor, or the copy of it that is kept in its stead.
bool is_read(const Graph& graph, TensorId id) {
  for (const Op& op : graph.forward) {
    for (const auto* needs : {&op.input_grad_needs, &op.weight_grad_needs}) {
      for (const TensorId need : *needs) {
        if (need == id || graph.tensors[static_cast<std::size_t>(need)].kept_as == id) return true;
      }
    }
  }
  return false;
}

}  // namespace

KeptBytes kept_bytes(const Graph& graph) {
  return {sum(graph, graph.kept_for_input), sum(graph, graph.kept_for_weight),
          sum(graph, graph.handed_to_weight)};
}

TransientBytes transient_bytes(const Graph& graph) {
  // Made again, and there until the pass ends; the rest of what runs again lives as in a forward
  // pass. `own`: what W does not read.
  std::vector<TensorId> remade, own;
  for (const Op& op : graph.recompute) {
    for (const TensorId id : op.outputs) {
      if (!is_read(graph, id) && !has(graph.handed_to_weight, id)) continue;
      include(remade, id);
      if (!has(graph.handed_to_weight, id)) include(own, id);
    }
  }
  TransientBytes bytes;
  bytes.remade = sum(graph, remade);
  bytes.forward = pass_transient(graph, graph.forward, kept_of(graph));
  std::vector<TensorId> stays = kept_of(graph);
  for (const TensorId id : remade) include(stays, id);
  const Bytes again = pass_transient(graph, graph.recompute, stays);
  bytes.input_grad = sum(graph, own) + sum(graph, graph.handed_to_weight) - handed_in_place(graph) +
                     max(again, gradient_transient(graph, true));
  bytes.weight_grad = weight_transient(graph);
  bytes.backward = bytes.remade + max(again, gradient_transient(graph, false) + bytes.weight_grad);
  return bytes;
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

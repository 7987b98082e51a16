// SPDX-License-Identifier: Apache-2.0
#include "model/keep_set.h"

#include <algorithm>

namespace narrows {

bool contains(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

const Op* producer_of(const Graph& graph, TensorId id) {
  for (const Op& op : graph.forward) {
    if (contains(op.outputs, id)) return &op;
  }
  return nullptr;
}

bool gathers(const Op& op) {
  return op.kind == OpKind::Collective && op.collective.what == CollectiveKind::AllGather;
}

namespace {

void add_once(std::vector<TensorId>& ids, TensorId id) {
  if (!contains(ids, id)) ids.push_back(id);
}

// Op by op, torchtitan's way: attention and reductions stay, and every other matmul, counted from
// the block's first.
bool recomputes_by_op(const Graph& graph, const Op& producer) {
  if (producer.kind == OpKind::Attention) return false;
  if (producer.kind == OpKind::Collective)
    return producer.collective.what == CollectiveKind::AllGather;
  if (producer.kind != OpKind::Matmul) return true;
  int earlier = 0;
  for (const Op& op : graph.forward) {
    if (&op == &producer) break;
    if (op.kind == OpKind::Matmul) ++earlier;
  }
  return earlier % 2 != 0;
}

bool recomputes_v3(V3Modules modules, const Op& producer) {
  // What is rotated is assembled from MLA's up-projections.
  const bool projected = producer.up_projection || producer.kind == OpKind::Rope;
  const bool cheap = producer.kind == OpKind::Norm || producer.kind == OpKind::ActivationFn;
  switch (modules) {
    case V3Modules::All:
      return projected || cheap || producer.name == "permute";
    case V3Modules::UpProjections:
      return projected;
    case V3Modules::NormsAndActivation:
      return cheap;
  }
  return false;
}

// Whether the policy recomputes this output instead of keeping it.
bool recomputes(Recompute policy, V3Modules modules, const Op& producer, TensorId output) {
  switch (policy) {
    case Recompute::None:
      return false;
    case Recompute::Full:
      return true;
    // The attention core; its output stays, as the input of the projection behind it
    // (korthikanti2022).
    case Recompute::Selective:
      return producer.inside_attention ||
             (producer.kind == OpKind::Attention && output != producer.outputs.front());
    // Norms, MLA up-projections with what is assembled from them, and the activation function
    // (deepseek2024 §3.2.3). Expert rows are laid out again from the received tokens.
    case Recompute::V3:
      return recomputes_v3(modules, producer);
  }
  return false;
}

// Quantised copies are cheap to make again from their source, or their source need not be kept when
// they are.
bool is_quantise(const Op& op) { return op.kind == OpKind::Quantise; }

class KeepSet {
 public:
  KeepSet(Graph& graph, Recompute policy, const Fusions& fusions)
      : graph_(graph), policy_(policy), fusions_(fusions), again_(graph.forward.size(), false) {}

  std::vector<bool> choose() {
    for (const Op& op : graph_.forward) {
      for (const TensorId id : op.input_grad_needs) require(id, graph_.kept_for_input);
    }
    for (const Op& op : graph_.forward) {
      for (const TensorId id : op.weight_grad_needs) {
        if (regather(id)) continue;
        // I makes it again, before W reads it.
        if (!require(id, graph_.kept_for_weight)) add_once(graph_.handed_to_weight, id);
      }
    }
    if (by_op()) keep_by_op();
    // What W holds anyway is not counted twice.
    std::erase_if(graph_.kept_for_input,
                  [&](TensorId id) { return contains(graph_.kept_for_weight, id); });
    if (policy_ == Recompute::Full && graph_.input != kNoTensor) keep_only_input();
    insert_recomputation();
    return again_;
  }

 private:
  bool by_op() const { return policy_ == Recompute::Selective && fusions_.selective_by_op; }
  bool drops(const Op& producer, TensorId output) const {
    return by_op() ? recomputes_by_op(graph_, producer)
                   : recomputes(policy_, fusions_.v3, producer, output);
  }
  // What the mode keeps, it keeps whether or not a gradient reads it. The half of the layer that
  // follows starts from this block's output, which is made again too, and so need not be kept.
  void keep_by_op() {
    for (const Op& op : graph_.forward) {
      if (op.kind == OpKind::Matmul && !recomputes_by_op(graph_, op))
        add_once(graph_.kept_for_input, op.outputs.front());
    }
    if (graph_.second_half) {
      std::erase(graph_.kept_for_input, graph_.input);
      std::erase(graph_.kept_for_weight, graph_.input);
    } else if (graph_.input != kNoTensor) {
      require(graph_.output, graph_.kept_for_input);
    }
  }
  // Keeps the tensor, or what it is made from again in I. Whether it is kept.
  bool require(TensorId id, std::vector<TensorId>& kept) {
    const TensorId copy = graph_.tensors[static_cast<std::size_t>(id)].kept_as;
    if (copy != kNoTensor) {
      add_once(kept, copy);
      return true;
    }
    const Op* producer = producer_of(graph_, id);
    const bool again = producer != nullptr && (drops(*producer, id) || remade(*producer));
    if (!again) {
      add_once(kept, id);
      return true;
    }
    const std::size_t index = static_cast<std::size_t>(index_of(*producer));
    if (again_[index]) return false;
    again_[index] = true;
    for (const TensorId input : producer->inputs) require(input, graph_.kept_for_input);
    return false;
  }
  // A quantised copy whose source is recomputed anyway, and what context parallelism gathered.
  bool remade(const Op& op) const {
    if (op.kind == OpKind::Collective) return op.collective.axis == Axis::Cp && gathers(op);
    if (!is_quantise(op)) return false;
    const Op* source = producer_of(graph_, op.inputs.front());
    return source != nullptr && drops(*source, op.inputs.front());
  }
  // Under sequence parallelism a rank keeps its shard of what it gathered, and gathers it again for
  // W (korthikanti2022 §4.2.2).
  bool regather(TensorId id) {
    const Op* gather = producer_of(graph_, id);
    if (policy_ == Recompute::Full || fusions_.keeps_gathered) return false;
    for (const Op& op : graph_.weight_grad) {
      if (contains(op.outputs, id)) return true;
    }
    if (gather != nullptr && is_quantise(*gather))
      return regather_narrow(id, producer_of(graph_, gather->inputs.front()));
    if (!gathers_tokens(gather)) return false;
    const TensorId shard = gather->inputs.front();
    if (!require(shard, graph_.kept_for_weight)) add_once(graph_.handed_to_weight, shard);
    graph_.weight_grad.push_back(*gather);
    graph_.weight_grad.back().forward = index_of(*gather);
    graph_.weight_grad.back().direction = Direction::WeightGrad;
    return true;
  }
  static bool gathers_tokens(const Op* op) {
    return op != nullptr && gathers(*op) && op->collective.axis == Axis::Tp;
  }
  // The same where W reads the quantised copy of what was gathered: the rank keeps its shard of
  // that one (Transformer Engine, LayerNormLinear).
  bool regather_narrow(TensorId id, const Op* gather) {
    if (!gathers_tokens(gather)) return false;
    const TensorId source = gather->inputs.front();
    const Tensor own = graph_.tensors[static_cast<std::size_t>(source)];
    const Dtype narrow = graph_.tensors[static_cast<std::size_t>(id)].dtype;
    const Op* maker = producer_of(graph_, source);
    const bool made_again = maker != nullptr && drops(*maker, source);
    if (made_again) require(source, graph_.kept_for_weight);
    const TensorId shard = static_cast<TensorId>(graph_.tensors.size());
    graph_.tensors.push_back({own.name + " kept", own.rows, own.columns, narrow});
    add_once(made_again ? graph_.handed_to_weight : graph_.kept_for_weight, shard);
    Op again = *gather;
    again.forward = index_of(*gather);
    again.direction = Direction::WeightGrad;
    again.inputs = {shard};
    again.outputs = {id};
    graph_.weight_grad.push_back(std::move(again));
    return true;
  }
  int index_of(const Op& forward) const {
    return static_cast<int>(&forward - graph_.forward.data());
  }
  void keep_only_input() {
    for (const TensorId id : graph_.kept_for_weight) add_once(graph_.handed_to_weight, id);
    graph_.kept_for_weight.clear();
    graph_.kept_for_input = {graph_.input};
    again_.assign(again_.size(), true);
    if (fusions_.keeps_projections) keep_projections();
    if (fusions_.recompute_stops_early && graph_.second_half) {
      for (std::size_t i = again_.size(); i-- > 0 && !is_needed(graph_.forward[i]);)
        again_[i] = false;
    }
  }
  // The matmuls before the attention core.
  void keep_projections() {
    const auto core = std::find_if(graph_.forward.begin(), graph_.forward.end(),
                                   [](const Op& op) { return op.kind == OpKind::Attention; });
    if (core == graph_.forward.end()) return;
    for (auto op = graph_.forward.begin(); op != core; ++op) {
      if (op->kind != OpKind::Matmul) continue;
      again_[static_cast<std::size_t>(index_of(*op))] = false;
      add_once(graph_.kept_for_input, op->outputs.front());
    }
  }
  // Whether a gradient of the block reads what the op makes.
  bool is_needed(const Op& op) const {
    for (const TensorId id : op.outputs) {
      for (const Op& other : graph_.forward) {
        if (contains(other.input_grad_needs, id) || contains(other.weight_grad_needs, id))
          return true;
      }
    }
    return false;
  }
  void insert_recomputation() {
    for (std::size_t i = 0; i < again_.size(); ++i) {
      if (!again_[i]) continue;
      graph_.recompute.push_back(graph_.forward[i]);
      graph_.recompute.back().recomputed = true;
      graph_.recompute.back().forward = static_cast<int>(i);
    }
  }

  Graph& graph_;
  Recompute policy_;
  Fusions fusions_;
  std::vector<bool> again_;
};

}  // namespace

std::vector<bool> choose_kept(Graph& graph, Recompute recompute, const Fusions& fusions) {
  return KeepSet(graph, recompute, fusions).choose();
}

}  // namespace narrows

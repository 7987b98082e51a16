// The backward passes, derived from the forward ops: what is kept, what is recomputed, the ops of
// the input gradient (I) and of the weight gradient (W), and the mirrored communication.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/block.h"

namespace narrows {
namespace {

bool contains(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}
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

// Whether the policy recomputes this output instead of keeping it.
bool recomputes(Recompute policy, const Op& producer, TensorId output) {
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
      return producer.kind == OpKind::Norm || producer.up_projection ||
             producer.kind == OpKind::Rope || producer.kind == OpKind::ActivationFn ||
             producer.name == "permute";
  }
  return false;
}

const Op* producer_of(const Graph& graph, TensorId id) {
  for (const Op& op : graph.forward) {
    if (contains(op.outputs, id)) return &op;
  }
  return nullptr;
}

// Quantised copies are cheap to make again from their source, or their source need not be kept when
// they are.
bool is_quantise(const Op& op) { return op.kind == OpKind::Quantise; }

// Scales of whole rows are found anew in the other direction: a pass for the largest element of
// each column and one that reads again and writes transposed, 5 bytes an element, neither of them
// coalesced, which counts twice. From torchtitan's Llama 3 8B on 8 H100 of 2025-01 (its commit
// 7a04053: 6,424 tokens/s against 7,186 with one scale a tensor), 4.2 ms a layer of 8,192 tokens.
constexpr Bytes kByColumn = 10 * byte;

bool gathers(const Op& op) {
  return op.kind == OpKind::Collective && op.collective.what == CollectiveKind::AllGather;
}

class Differentiator {
 public:
  Differentiator(Graph& graph, Recompute policy, const Fusions& fusions)
      : graph_(graph), policy_(policy), fusions_(fusions), again_(graph.forward.size(), false) {}

  void run() {
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
    for (std::size_t i = graph_.forward.size(); i-- > 0;) derive(graph_.forward[i]);
  }

 private:
  bool by_op() const { return policy_ == Recompute::Selective && fusions_.selective_by_op; }
  bool drops(const Op& producer, TensorId output) const {
    return by_op() ? recomputes_by_op(graph_, producer) : recomputes(policy_, producer, output);
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
    if (gather == nullptr || !gathers(*gather) || gather->collective.axis != Axis::Tp) return false;
    const TensorId shard = gather->inputs.front();
    if (!require(shard, graph_.kept_for_weight)) add_once(graph_.handed_to_weight, shard);
    graph_.weight_grad.push_back(*gather);
    graph_.weight_grad.back().forward = index_of(*gather);
    graph_.weight_grad.back().direction = Direction::WeightGrad;
    return true;
  }
  // The same where W reads the quantised copy: the rank keeps its shard of that one.
  bool regather_narrow(TensorId id, const Op* gather) {
    if (gather == nullptr || !gathers(*gather) || gather->collective.axis != Axis::Tp) return false;
    const Tensor own = graph_.tensors[static_cast<std::size_t>(gather->inputs.front())];
    const Dtype narrow = graph_.tensors[static_cast<std::size_t>(id)].dtype;
    const Op* source = producer_of(graph_, gather->inputs.front());
    const bool remade = source != nullptr && drops(*source, gather->inputs.front());
    if (remade) require(gather->inputs.front(), graph_.kept_for_weight);
    const TensorId shard = static_cast<TensorId>(graph_.tensors.size());
    graph_.tensors.push_back({own.name + " kept", own.rows, own.columns, narrow});
    add_once(remade ? graph_.handed_to_weight : graph_.kept_for_weight, shard);
    graph_.weight_grad.push_back(*gather);
    Op& again = graph_.weight_grad.back();
    again.forward = index_of(*gather);
    again.direction = Direction::WeightGrad;
    again.inputs = {shard};
    again.outputs = {id};
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
    if (fusions_.recompute_stops_early && graph_.second_half) {
      for (std::size_t i = again_.size(); i-- > 0 && !is_needed(graph_.forward[i]);)
        again_[i] = false;
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

  void derive(const Op& op) {
    switch (op.kind) {
      case OpKind::Matmul:
        derive_matmul(op);
        break;
      case OpKind::Attention:
        derive_attention(op);
        break;
      case OpKind::Collective:
        derive_collective(op);
        break;
      case OpKind::Quantise:
        break;  // the gradient passes through
      case OpKind::Embedding:
        if (op.frozen) break;
        push(op, Direction::WeightGrad, 1.5 * op.traffic);
        break;
      case OpKind::Loss:
        // The float softmax becomes the gradient in place, and is cast back (the copy's mirror).
        push(op, Direction::InputGrad, fusions_.loss ? op.traffic : tensors(op.inputs) * 2);
        break;
      // Read the input and the gradient, write the gradient: half as much again as forward.
      case OpKind::Norm:
        push(op, Direction::InputGrad, norm_traffic(op));
        break;
      case OpKind::ActivationFn:
        push(op, Direction::InputGrad, activation_traffic(op));
        break;
      case OpKind::Rope:
        push(op, Direction::InputGrad, rope_traffic(op));
        break;
      case OpKind::Permute:
        push(op, Direction::InputGrad, partner_traffic(op));
        break;
      case OpKind::Router:
      case OpKind::Elementwise:
        if (op.frozen) break;
        // Dropout reads the gradient and its mask and writes, softmax reads the gradient and its
        // own output and writes: 11 bytes a score against 9 forward.
        push(op, Direction::InputGrad, (op.inside_attention ? 11.0 / 9 : 1) * op.traffic);
        break;
      case OpKind::Optimizer:
        break;
    }
  }

  Bytes tensors(const std::vector<TensorId>& ids) const {
    Bytes total;
    for (const TensorId id : ids)
      total += bytes_expected(graph_.tensors[static_cast<std::size_t>(id)]);
    return total;
  }
  // Input, output gradient and (fused) the residual's gradient in; input gradient out.
  Bytes norm_traffic(const Op& op) const {
    // Operation by operation, about 60 bytes an element instead of 8.
    const double passes = fusions_.norm ? 2 : 15;
    return passes * (tensors(op.inputs) + tensors(op.outputs));
  }
  // The input and the gradient of the output in, the gradient of the input out, the output again
  // where it is remade.
  Bytes activation_traffic(const Op& op) const {
    return 2 * tensors(op.inputs) + tensors(op.outputs);
  }
  // The gradient of K is split again and its rotated part summed over heads.
  Bytes rope_traffic(const Op& op) const { return 1.4 * op.traffic; }

  void push(const Op& forward, Direction direction, Bytes traffic) {
    Op op = forward;
    op.direction = direction;
    op.forward = index_of(forward);
    op.traffic = traffic;
    std::swap(op.inputs, op.outputs);
    (direction == Direction::WeightGrad ? graph_.weight_grad : graph_.input_grad)
        .push_back(std::move(op));
  }

  void quantise(const std::string& name, Bytes traffic, bool inside_experts = false) {
    Op op;
    op.inside_experts = inside_experts;
    op.kind = OpKind::Quantise;
    op.name = name;
    op.direction = Direction::InputGrad;
    op.traffic = traffic;
    graph_.input_grad.push_back(std::move(op));
  }

  bool goes_inside_experts(TensorId id) const {
    return std::any_of(graph_.forward.begin(), graph_.forward.end(),
                       [&](const Op& op) { return op.inside_experts && contains(op.inputs, id); });
  }

  // The fused loss leaves the gradient of the logits in their place.
  bool goes_into_fused_loss(TensorId id) const {
    return fusions_.loss &&
           std::any_of(graph_.forward.begin(), graph_.forward.end(), [&](const Op& op) {
             return op.kind == OpKind::Loss && contains(op.inputs, id);
           });
  }

  // Of a frozen weight only the input gradient is made: its operand once, no tensor for W.
  void derive_frozen(const Op& op) {
    const Tensor& out = graph_.tensors[static_cast<std::size_t>(op.outputs.front())];
    if (is_quantised(op.precision)) {
      const Bytes narrow = size_of(operand_dtype(op.precision));
      quantise("quantise d " + op.name, out.rows.expected * out.columns * (2 * byte + narrow),
               goes_inside_experts(op.outputs.front()));
      if (op.precision == Recipe::Fp8Block)
        quantise("transpose weight of " + op.name, 2 * op.weight);
    }
    push(op, Direction::InputGrad, {});
  }

  void derive_matmul(const Op& op) {
    if (op.frozen) {
      derive_frozen(op);
      return;
    }
    const Tensor out = graph_.tensors[static_cast<std::size_t>(op.outputs.front())];
    const Tensor in = graph_.tensors[static_cast<std::size_t>(op.inputs.front())];
    const bool quantised = is_quantised(op.precision);
    if (quantised) {
      const double out_elements = out.rows.expected * out.columns;
      const double in_elements = in.rows.expected * in.columns;
      const Bytes narrow = size_of(operand_dtype(op.precision));
      const bool by_row = op.precision == Recipe::Fp8Row;
      // The output gradient for dgrad (1x128) and, transposed, for wgrad (128x1): one read, two
      // writes.
      const Bytes both = by_row ? 2 * byte + narrow + kByColumn : 2 * byte + 2 * narrow;
      quantise("quantise d " + op.name, out_elements * both,
               goes_inside_experts(op.outputs.front()));
      // The kept input in the other tiling, transposed.
      const Op* source = producer_of(graph_, op.inputs.front());
      quantise("requantise input of " + op.name,
               in_elements * (by_row ? kByColumn : size_of(in.dtype) + narrow),
               source != nullptr && source->inside_experts);
      if (by_row) {
        const double weights = static_cast<double>(op.matmul.groups) *
                               static_cast<double>(op.matmul.n) * static_cast<double>(op.matmul.k);
        quantise("quantise weight of " + op.name + " by column", weights * kByColumn);
      }
      // Hopper's fp8 matmul wants both operands K-major: the weight is transposed for dgrad.
      if (op.precision == Recipe::Fp8Block)
        quantise("transpose weight of " + op.name, 2 * op.weight);
      const TensorId gradient = static_cast<TensorId>(graph_.tensors.size());
      graph_.tensors.push_back(
          {"d " + out.name + " transposed", out.rows, out.columns, operand_dtype(op.precision)});
      graph_.handed_to_weight.push_back(gradient);
    } else {
      const TensorId gradient = static_cast<TensorId>(graph_.tensors.size());
      graph_.tensors.push_back({"d " + out.name, out.rows, out.columns, out.dtype});
      graph_.handed_to_weight.push_back(gradient);
      if (goes_into_fused_loss(op.outputs.front())) graph_.in_place.push_back(gradient);
    }
    push(op, Direction::InputGrad, {});
    push(op, Direction::WeightGrad, {});
    if (op.biased && !quantised) {
      // A sum over the rows of the output gradient; casts to narrow formats take it along.
      Op sum;
      sum.kind = OpKind::Elementwise;
      sum.name = "d bias of " + op.name;
      sum.direction = Direction::WeightGrad;
      sum.traffic = out.rows.expected * out.columns * 2 * byte;
      graph_.weight_grad.push_back(std::move(sum));
    }
    if (!fusions_.grad_accumulation) {
      // The gradient of this micro-batch, 2 bytes, is added to the accumulator in a pass of its
      // own.
      Op add;
      add.kind = OpKind::Elementwise;
      add.name = "accumulate d " + op.name;
      add.direction = Direction::WeightGrad;
      add.traffic = static_cast<double>(op.matmul.groups) * static_cast<double>(op.matmul.n) *
                    static_cast<double>(op.matmul.k) * (2 * byte + 2 * size_of(fusions_.gradient));
      graph_.weight_grad.push_back(std::move(add));
    }
  }

  // Under context parallelism a rank keeps its own keys and values, and gathers the others' again.
  void regather_context() {
    for (std::size_t i = 0; i < graph_.forward.size(); ++i) {
      const Op& op = graph_.forward[i];
      if (!gathers(op) || op.collective.axis != Axis::Cp || again_[i]) continue;
      graph_.input_grad.push_back(op);
      graph_.input_grad.back().direction = Direction::InputGrad;
    }
  }

  void derive_attention(const Op& op) {
    regather_context();
    push(op, Direction::InputGrad, {});
    // dO . O, and the conversion of the accumulated dQ.
    Op around;
    around.kind = OpKind::Elementwise;
    around.name = "attention backward pre and post";
    around.direction = Direction::InputGrad;
    const AttentionShape& a = op.attention;
    const double queries = a.batch * static_cast<double>(a.queries) * a.heads;
    around.traffic = queries * (2.0 * a.v_dim * 2 + a.qk_dim * 6.0) * byte;
    graph_.input_grad.push_back(std::move(around));
  }

  void derive_collective(const Op& op) {
    Op mirror = op;
    mirror.direction = Direction::InputGrad;
    mirror.forward = index_of(op);
    std::swap(mirror.inputs, mirror.outputs);
    switch (op.collective.what) {
      case CollectiveKind::AllGather:
        mirror.collective.what = CollectiveKind::ReduceScatter;
        if (op.collective.axis == Axis::Cp && fusions_.stepwise_context) pass_round(op, mirror);
        break;
      case CollectiveKind::ReduceScatter:
        mirror.collective.what = CollectiveKind::AllGather;
        break;
      // The backward of dispatch is a combine of dX in the activation format; that of combine
      // dispatches dY, narrow where the stack sends narrow tokens.
      case CollectiveKind::Dispatch: {
        mirror.collective.what = CollectiveKind::Combine;
        mirror.collective.bytes = partner_bytes(CollectiveKind::Combine);
        break;
      }
      case CollectiveKind::Combine: {
        mirror.collective.what = CollectiveKind::Dispatch;
        mirror.collective.bytes = partner_bytes(CollectiveKind::Dispatch);
        break;
      }
      // Keys and values pass round again, and their gradients with them.
      case CollectiveKind::SendRecv:
        mirror.collective.bytes = 2 * op.collective.bytes;
        break;
      // Without sequence parallelism the all-reduce stands at the region's exit in forward and at
      // its entry in backward.
      default:
        break;
    }
    graph_.input_grad.push_back(std::move(mirror));
  }
  // Gradients of one rank's keys and values, in float32, collected from rank to rank.
  void pass_round(const Op& gather, Op& mirror) const {
    const Tensor& all = graph_.tensors[static_cast<std::size_t>(gather.outputs.front())];
    const Tensor& own = graph_.tensors[static_cast<std::size_t>(gather.inputs.front())];
    mirror.collective.what = CollectiveKind::SendRecv;
    mirror.collective.bytes = own.rows.expected * all.columns * size_of(Dtype::F32);
  }
  // The gradient of the way to the experts goes the way back, in its format, and the other way
  // round.
  Bytes partner_traffic(const Op& permute) const {
    for (const Op& op : graph_.forward) {
      if (op.kind == OpKind::Permute && op.name != permute.name) return op.traffic;
    }
    return permute.traffic;
  }
  Bytes partner_bytes(CollectiveKind what) const {
    for (const Op& op : graph_.forward) {
      if (op.kind == OpKind::Collective && op.collective.what == what) return op.collective.bytes;
    }
    return {};
  }

  Graph& graph_;
  Recompute policy_;
  Fusions fusions_;
  std::vector<bool> again_;
};

}  // namespace

void differentiate(Graph& graph, Recompute recompute, const Fusions& fusions) {
  Differentiator(graph, recompute, fusions).run();
}

}  // namespace narrows

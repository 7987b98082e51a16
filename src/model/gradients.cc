// The backward passes, derived from the forward ops: the ops of the input gradient (I) and of the
// weight gradient (W), and the mirrored communication. What is kept for them: keep_set.h.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/block.h"
#include "model/keep_set.h"

namespace narrows {
namespace {

// Scales of whole rows are found anew in the other direction: a pass for the largest element of
// each column and one that reads again and writes transposed, 5 bytes an element, neither of them
// coalesced, which counts twice. From torchtitan's Llama 3 8B on 8 H100 of 2025-01 (its commit
// 7a04053: 6,424 tokens/s against 7,186 with one scale a tensor), 4.2 ms a layer of 8,192 tokens.
constexpr Bytes kByColumn = 10 * byte;

class Differentiator {
 public:
  // `again`: of each forward op, whether it runs again.
  Differentiator(Graph& graph, const Fusions& fusions, std::vector<bool> again)
      : graph_(graph), fusions_(fusions), again_(std::move(again)) {}

  void run() {
    for (std::size_t i = graph_.forward.size(); i-- > 0;) derive(graph_.forward[i]);
  }

 private:
  int index_of(const Op& forward) const {
    return static_cast<int>(&forward - graph_.forward.data());
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
        if (!fusions_.loss && fusions_.parallel_loss) overwrite_softmax();
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

  // Megatron's loss is handed one number a token, and writes its gradient over the softmax;
  // PyTorch's makes a gradient of the softmax, then one of its input.
  void overwrite_softmax() {
    Op& loss = graph_.input_grad.back();
    loss.inputs.clear();
    graph_.in_place.push_back(loss.outputs.front());
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
      if (goes_into_fused_loss(op.outputs.front())) graph_.in_place.push_back(op.outputs.front());
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
    const bool in_context = op.collective.axis == Axis::Cp;
    const double summed = in_context ? 1 : graph_.summed_gradients;
    const double multiplied = in_context ? 1 : graph_.multiplied_gradients;
    switch (op.collective.what) {
      case CollectiveKind::AllGather:
        mirror.collective.what = CollectiveKind::ReduceScatter;
        mirror.collective.bytes = summed * op.collective.bytes;
        if (op.collective.axis == Axis::Cp && fusions_.stepwise_context) pass_round(op, mirror);
        break;
      case CollectiveKind::ReduceScatter:
        mirror.collective.what = CollectiveKind::AllGather;
        mirror.collective.bytes = multiplied * op.collective.bytes;
        break;
      // The backward of dispatch is a combine of dX in the activation format; that of combine
      // dispatches dY, narrow where the stack sends narrow tokens.
      case CollectiveKind::Dispatch: {
        mirror.collective.what = CollectiveKind::Combine;
        mirror.collective.bytes = summed * partner_bytes(CollectiveKind::Combine);
        break;
      }
      case CollectiveKind::Combine: {
        mirror.collective.what = CollectiveKind::Dispatch;
        mirror.collective.bytes = multiplied * partner_bytes(CollectiveKind::Dispatch);
        break;
      }
      // Keys and values pass round again, and their gradients with them.
      case CollectiveKind::SendRecv:
        mirror.collective.bytes = 2 * op.collective.bytes;
        break;
      // Without sequence parallelism the all-reduce stands at the region's exit in forward and at
      // its entry in backward.
      default:
        mirror.collective.bytes = summed * op.collective.bytes;
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
  Fusions fusions_;
  std::vector<bool> again_;
};

}  // namespace

void differentiate(Graph& graph, Recompute recompute, const Fusions& fusions) {
  Differentiator(graph, fusions, choose_kept(graph, recompute, fusions)).run();
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "model/graph_builder.h"

namespace narrows {

GraphBuilder::GraphBuilder(Recipe recipe, const Fusions& fusions)
    : recipe_(recipe), fusions_(fusions) {
  graph_.summed_gradients = size_of(stored()) / size_of(activation_dtype(recipe));
  if (recipe != Recipe::Bf16) graph_.multiplied_gradients = graph_.summed_gradients;
}

TensorId GraphBuilder::tensor(std::string name, Rows rows, double columns, Dtype dtype) {
  graph_.tensors.push_back({std::move(name), rows, columns, dtype});
  return static_cast<TensorId>(graph_.tensors.size()) - 1;
}

TensorId GraphBuilder::norm(const std::string& name, TensorId x, bool residual) {
  const Tensor in = at(x);
  const TensorId out = activation(name, in.rows, in.columns);
  // With the residual addition: two tensors in, the new residual and the normalised one out.
  const Bytes one = bytes_expected(in);
  if (residual && !fusions_.norm_residual) {
    memory_bound(OpKind::Elementwise, name + " residual add", {x}, kNoTensor, 2 * (one / byte));
    last().inputs = {x};
  }
  Op op;
  op.kind = OpKind::Norm;
  op.name = name;
  op.traffic = (residual && fusions_.norm_residual ? 3 : 1) * one + bytes_expected(at(out));
  // Operation by operation: to float32, square, mean, scale, back, times the weight: 36 bytes an
  // element instead of 4.
  if (!fusions_.norm) op.traffic = 9 * (one + bytes_expected(at(out)));
  op.inputs = {x};
  op.outputs = {out};
  op.input_grad_needs = {x};
  graph_.forward.push_back(std::move(op));
  return out;
}

TensorId GraphBuilder::operand(TensorId x) {
  if (!is_quantised(recipe_) || at(x).dtype == operand_dtype(recipe_)) return x;
  for (const auto& [from, to] : quantised_) {
    if (from == x) return to;
  }
  const Tensor in = at(x);
  const TensorId out = tensor(in.name + " " + to_string(operand_dtype(recipe_)), in.rows,
                              in.columns, operand_dtype(recipe_));
  Op op;
  op.kind = OpKind::Quantise;
  op.name = "quantise " + in.name;
  op.traffic = bytes_expected(in) + bytes_expected(at(out));
  op.inputs = {x};
  op.outputs = {out};
  if (fusions_.activation && last().kind == OpKind::ActivationFn && last().outputs.front() == x) {
    // One kernel: the activation writes the quantised tensor, and the wide one is never stored.
    last().traffic += bytes_expected(at(out)) - bytes_expected(in);
    last().outputs = {x, out};
  } else {
    graph_.forward.push_back(std::move(op));
  }
  quantised_.emplace_back(x, out);
  return out;
}

TensorId GraphBuilder::multiply(const std::string& name, TensorId x, TensorId input,
                                const MatmulShape& shape, Recipe precision) {
  const TensorId out = activation(name, shape.m, static_cast<double>(shape.n));
  Op op;
  op.kind = OpKind::Matmul;
  op.name = name;
  op.precision = precision;
  op.matmul = shape;
  const Dtype weight =
      precision == recipe_ && is_quantised(recipe_) ? operand_dtype(recipe_) : stored();
  op.weight = static_cast<double>(shape.groups) * static_cast<double>(shape.n) *
              static_cast<double>(shape.k) * size_of(weight);
  op.inputs = {input};
  op.outputs = {out};
  // The weight gradient needs the input: the quantised copy where the stack keeps that one.
  const bool narrow = at(x).dtype != stored();  // kept in a narrow format already
  op.frozen = frozen_;
  if (!frozen_) {
    op.weight_grad_needs = {input != x && fusions_.quantised_activations && !narrow ? input : x};
  }
  graph_.forward.push_back(std::move(op));
  return out;
}

TensorId GraphBuilder::linear(const std::string& name, TensorId x, std::int64_t n, std::int64_t k,
                              int groups) {
  const TensorId input = operand(x);
  const TensorId out = multiply(name, x, input, {at(x).rows, n, k, groups}, recipe_);
  last().biased = biased_ && !frozen_;
  return out;
}

TensorId GraphBuilder::plain_linear(const std::string& name, TensorId x, std::int64_t n,
                                    std::int64_t k) {
  const Recipe plain = is_quantised(recipe_) ? Recipe::Bf16 : recipe_;
  return multiply(name, x, x, {at(x).rows, n, k, 1}, plain);
}

TensorId GraphBuilder::rope(const std::string& name, std::initializer_list<TensorId> inputs,
                            Rows rows, double columns, double traffic_columns) {
  const TensorId out = activation(name, rows, columns);
  Op op;
  op.kind = OpKind::Rope;
  op.name = name;
  // Not fused: to float32, the rotation, back and the assembly are passes of their own, 20 bytes an
  // element instead of 4.
  op.traffic = (fusions_.rope ? 1 : 5) * rows.expected * traffic_columns * size_of(stored());
  op.inputs = inputs;
  op.outputs = {out};
  graph_.forward.push_back(std::move(op));
  return out;
}

TensorId GraphBuilder::attention(const AttentionShape& shape, std::initializer_list<TensorId> qkv,
                                 Rows rows) {
  const double columns = static_cast<double>(shape.heads) * shape.v_dim;
  // DeepSeek-V3 caches the input of the linear after attention in 12 bits (deepseek2024 §3.3.3).
  const bool narrow = fusions_.quantised_activations && is_quantised(recipe_);
  const TensorId out = tensor("attention out", rows, columns, narrow ? Dtype::E5M6 : stored());
  const TensorId statistics = tensor("log-sum-exp", rows, shape.heads, Dtype::F32);
  Op op;
  op.kind = OpKind::Attention;
  op.name = "attention";
  op.precision = recipe_ == Recipe::F32 ? Recipe::F32 : Recipe::Bf16;
  op.attention = shape;
  op.inputs = qkv;
  op.outputs = {out, statistics};
  op.input_grad_needs = qkv;
  op.input_grad_needs.push_back(out);
  op.input_grad_needs.push_back(statistics);
  graph_.forward.push_back(std::move(op));
  if (!fusions_.attention) materialise_scores(statistics);
  return out;
}

// The scores are written by one product, softmaxed and dropped out in two passes, and read by the
// other product; a softmax in 2 bytes, its copy after dropout and a mask are kept
// (korthikanti2022). The products compute masked scores too, and count their own bytes.
void GraphBuilder::materialise_scores(TensorId statistics) {
  Op& core = last();
  core.materialised = true;
  core.attention.causal = false;
  const AttentionShape& a = core.attention;
  const double rows = a.batch * static_cast<double>(a.queries) * a.heads;
  const double keys = static_cast<double>(a.keys);
  const TensorId scores =
      tensor("scores", exactly(rows), keys * fusions_.score_bytes / 2, Dtype::Bf16);
  core.input_grad_needs.push_back(scores);
  const Bytes around = bytes_expected(at(scores)) + bytes_expected(at(statistics));
  // Softmax reads and writes, dropout reads and writes and writes its mask: 9 bytes a score.
  memory_bound(OpKind::Elementwise, "softmax", {statistics}, scores,
               rows * keys * 9 - around / byte);
  last().inside_attention = true;
}

TensorId GraphBuilder::activation_fn(const std::string& name, TensorId x, bool gated) {
  const Tensor in = at(x);
  const TensorId out = activation(name, in.rows, gated ? in.columns / 2 : in.columns);
  // A stack that keeps quantised activations keeps this input in eight bits too (deepseek2024
  // §3.3.3).
  if (fusions_.quantised_activations && is_quantised(recipe_)) {
    const TensorId kept = tensor(in.name + " kept", in.rows, in.columns, operand_dtype(recipe_));
    memory_bound(OpKind::Quantise, "quantise " + in.name + " to keep", {x}, kept);
    graph_.tensors[static_cast<std::size_t>(x)].kept_as = kept;
  }
  Op op;
  op.kind = OpKind::ActivationFn;
  op.name = name;
  op.traffic = (fusions_.activation ? 1 : 2) * (bytes_expected(in) + bytes_expected(at(out)));
  op.inputs = {x};
  op.outputs = {out};
  op.input_grad_needs = {x};
  if (gated) keep_gate(op, Tensor(at(out)));
  graph_.forward.push_back(std::move(op));
  return out;
}

// Two operations, the activation of the gate and the product, keep what is between them.
void GraphBuilder::keep_gate(Op& op, const Tensor& out) {
  if (fusions_.activation) return;
  const TensorId active = activation(op.name + " of the gate", out.rows, out.columns);
  op.outputs.push_back(active);
  op.input_grad_needs.push_back(active);
}

TensorId GraphBuilder::gate_fn(const std::string& name, TensorId gate, TensorId up) {
  const Tensor in = at(gate);
  const TensorId out = activation(name, in.rows, in.columns);
  Op op;
  op.kind = OpKind::ActivationFn;
  op.name = name;
  op.traffic = (fusions_.activation ? 1 : 2) * (2 * bytes_expected(in) + bytes_expected(at(out)));
  op.inputs = {gate, up};
  op.outputs = {out};
  op.input_grad_needs = {gate, up};
  keep_gate(op, Tensor(at(out)));
  graph_.forward.push_back(std::move(op));
  return out;
}

TensorId GraphBuilder::memory_bound(OpKind kind, const std::string& name,
                                    std::initializer_list<TensorId> inputs, TensorId output,
                                    double extra_bytes) {
  Op op;
  op.kind = kind;
  op.name = name;
  op.inputs = inputs;
  op.traffic = extra_bytes * byte;
  for (const TensorId id : op.inputs) op.traffic += bytes_expected(at(id));
  if (output != kNoTensor) {
    op.traffic += bytes_expected(at(output));
    op.outputs = {output};
  }
  graph_.forward.push_back(std::move(op));
  return output;
}

TensorId GraphBuilder::collective(const std::string& name, TensorId x, TensorId output,
                                  CollectiveShape shape) {
  if (shape.axis != Axis::Cp) shape.bytes = shape.bytes / graph_.summed_gradients;
  Op op;
  op.kind = OpKind::Collective;
  op.name = name;
  op.collective = shape;
  op.inputs = {x};
  op.outputs = {output};
  graph_.forward.push_back(std::move(op));
  return output;
}

}  // namespace narrows

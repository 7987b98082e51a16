// Matmuls and attention, as src/runtime/ops_linear.cc and ops_attention.cc call them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "measure/op_case_parts.h"

namespace narrows::op_parts {
namespace {

struct MatmulPlan {
  MatmulShape shape;
  Direction direction = Direction::Forward;
  MatmulForms forms;
  std::int64_t m() const { return static_cast<std::int64_t>(shape.m.expected); }
};

template <typename Element>
Element* from_row(Element* first, std::int64_t row, std::int64_t columns) {
  return first == nullptr ? nullptr : first + row * columns;
}

// One group of a matmul: its rows, and where its operands begin.
struct Group {
  std::int64_t rows = 0;
  Given x, dy;                    // (rows, stride), (rows, n)
  const float* weight = nullptr;  // (n, k)
  Made out;
};

kernels::Matmul product(const MatmulPlan& p, const Group& g) {
  const std::int64_t n = p.shape.n, k = p.shape.k, stride = p.forms.stride;
  switch (p.direction) {
    case Direction::Forward:
      return {.transpose_b = true,
              .m = g.rows,
              .n = n,
              .k = k,
              .a = g.x.wide,
              .stride_a = stride,
              .b = g.weight,
              .stride_b = k,
              .c = g.out.wide,
              .stride_c = n,
              .a_narrow = g.x.narrow,
              .stride_a_narrow = stride,
              .to_bf16 = p.forms.format != Multiply::F32,
              .c_narrow = g.out.narrow,
              .stride_c_narrow = n};
    case Direction::InputGrad:
      return {.m = g.rows,
              .n = k,
              .k = n,
              .a = g.dy.wide,
              .stride_a = n,
              .b = g.weight,
              .stride_b = k,
              .c = g.out.wide,
              .stride_c = stride,
              .a_narrow = g.dy.narrow,
              .stride_a_narrow = n};
    case Direction::WeightGrad:
      break;
  }
  return {.transpose_a = true,
          .m = n,
          .n = k,
          .k = g.rows,
          .a = g.dy.wide,
          .stride_a = n,
          .b = g.x.wide,
          .stride_b = stride,
          .beta = 1,
          .c = g.out.wide,
          .stride_c = k,
          .a_narrow = g.dy.narrow,
          .stride_a_narrow = n,
          .b_narrow = g.x.narrow,
          .stride_b_narrow = stride};
}

// How many elements of results a group of so many rows has.
std::int64_t results(const MatmulPlan& p, std::int64_t rows) {
  if (p.direction == Direction::WeightGrad) return p.shape.n * p.shape.k;
  return rows * (p.direction == Direction::Forward ? p.shape.n : p.forms.stride);
}

void multiply(const MatmulPlan& p, Backend& backend, RotatingMemory& memory) {
  const std::int64_t n = p.shape.n, stride = p.forms.stride;
  const std::int64_t weights = p.shape.groups * n * p.shape.k;
  const bool is_forward = p.direction == Direction::Forward;
  const bool is_weight_grad = p.direction == Direction::WeightGrad;
  const std::int64_t written = is_weight_grad ? weights : results(p, p.m());
  memory.reserve(p.m() * (stride + n) + weights, written);
  // What waited for the weight gradient under bf16 waited in that, whoever made it.
  const bool halves = p.forms.narrow || (is_weight_grad && p.forms.format == Multiply::Bf16);
  const Given x = is_weight_grad ? waited(memory, p.m() * stride, halves)
                                 : recent(memory, p.m() * stride, halves);
  const Given dy = recent(memory, p.m() * n, p.forms.narrow_grad);
  const float* const weight = memory.input(weights);
  // Gradients of weights are added to, and what forward makes is kept: memory that was last used in
  // another layer. Gradients of inputs lie where others just lay.
  Made out = p.direction == Direction::InputGrad
                 ? fresh(memory, written, false)
                 : kept(memory, written, is_forward && p.forms.narrow_out);
  std::vector<kernels::Matmul> products;
  std::int64_t done = 0;
  for (std::int64_t g = 0; g < p.shape.groups; ++g) {
    const std::int64_t first = p.m() * g / p.shape.groups;
    const std::int64_t rows = p.m() * (g + 1) / p.shape.groups - first;
    if (rows == 0) continue;
    const Group group{rows,
                      {from_row(x.wide, first, stride), from_row(x.narrow, first, stride)},
                      {from_row(dy.wide, first, n), from_row(dy.narrow, first, n)},
                      weight + g * n * p.shape.k,
                      {from_row(out.wide, 1, done), from_row(out.narrow, 1, done)}};
    products.push_back(product(p, group));
    done += results(p, rows);
  }
  // Input gradients are handed over together, as ops_linear.cc does.
  if (p.direction == Direction::InputGrad) return backend.run(products, p.forms.format);
  for (const kernels::Matmul& op : products) backend.run(op, p.forms.format);
}

// Queries, keys and values as the projections leave them: MLA's values beside the keys' parts
// without position, GQA's all three side by side.
template <typename Float>
struct Operands {
  kernels::Heads<Float> q, k, v;
};

struct AttentionPlan {
  AttentionShape shape;
  bool is_mla = false;
  bool rounds = false;  // its matmuls round to bf16
  bool narrow = false;  // and read what lies so
  std::int64_t nope = 0;
  std::vector<std::int32_t> positions;
  // Keys of the whole sequence that context parallelism gathered lie packed, as kv_heads say.
  bool is_gathered = false;

  std::int64_t query_rows() const { return static_cast<std::int64_t>(shape.batch) * shape.queries; }
  std::int64_t key_rows() const { return static_cast<std::int64_t>(shape.batch) * shape.keys; }
  std::int64_t out_floats() const { return query_rows() * shape.heads * shape.v_dim; }
  std::int64_t row() const {
    return std::int64_t{shape.heads} * shape.qk_dim +
           std::int64_t{shape.kv_heads} * (shape.qk_dim + shape.v_dim + nope);
  }
  std::int64_t operand_floats() const { return std::max(query_rows(), key_rows()) * row(); }
};

// Views of one block of memory, big enough for every layout.
template <typename Float>
Operands<Float> operands(const AttentionPlan& p, Float* at) {
  const AttentionShape& s = p.shape;
  const std::int64_t width = std::int64_t{s.heads} * s.qk_dim;
  if (p.is_mla || p.is_gathered) {
    Float* const k = at + p.query_rows() * width;
    const std::int64_t kv_width = std::int64_t{s.kv_heads} * s.qk_dim;
    Float* const v = k + p.key_rows() * kv_width;
    const std::int64_t v_head = p.nope + s.v_dim;
    return {
        {at, width, s.qk_dim}, {k, kv_width, s.qk_dim}, {v + p.nope, s.kv_heads * v_head, v_head}};
  }
  Float* const k = at + width;
  return {{at, p.row(), s.qk_dim},
          {k, p.row(), s.qk_dim},
          {k + std::int64_t{s.kv_heads} * s.qk_dim, p.row(), s.v_dim}};
}

template <typename Float>
kernels::Heads<Float> output(const AttentionPlan& p, Float* data) {
  return {data, std::int64_t{p.shape.heads} * p.shape.v_dim, p.shape.v_dim};
}

kernels::Attention core(const AttentionPlan& p, const Given& from, const Made& out,
                        float* statistics) {
  const AttentionShape& s = p.shape;
  kernels::Attention op{.log_sum_exp = statistics,
                        .batch = static_cast<std::int64_t>(s.batch),
                        .heads = s.heads,
                        .kv_heads = s.kv_heads,
                        .queries = s.queries,
                        .keys = s.keys,
                        .qk_dim = s.qk_dim,
                        .v_dim = s.v_dim,
                        .window = s.window,
                        .positions = p.positions.data(),
                        .narrow = p.rounds};
  if (from.narrow != nullptr) {
    const Operands<const std::uint16_t> in = operands(p, from.narrow);
    op.q_narrow = in.q;
    op.k_narrow = in.k;
    op.v_narrow = in.v;
    op.out_narrow = output(p, out.narrow);
    return op;
  }
  const Operands<const float> in = operands(p, from.wide);
  op.q = in.q;
  op.k = in.k;
  op.v = in.v;
  op.out = output(p, out.wide);
  return op;
}

void attend(const AttentionPlan& p, Backend& backend, RotatingMemory& memory) {
  const std::int64_t statistics = p.query_rows() * p.shape.heads;
  memory.reserve(p.operand_floats(), p.out_floats() + statistics);
  const Given from = recent(memory, p.operand_floats(), p.narrow);
  const Made out = kept(memory, p.out_floats(), p.narrow);
  backend.run(core(p, from, out, memory.output(statistics)));
}

void attend_back(const AttentionPlan& p, Backend& backend, RotatingMemory& memory) {
  const std::int64_t statistics = p.query_rows() * p.shape.heads;
  memory.reserve(p.operand_floats() + 2 * p.out_floats() + statistics,
                 p.operand_floats() + p.out_floats());
  const Given from = waited(memory, p.operand_floats(), p.narrow);
  const Made out = kept(memory, p.out_floats(), p.narrow);
  // Both are read only by the gradient.
  float* const sums = const_cast<float*>(memory.input(statistics));
  const Operands<float> to = operands(p, memory.recent_output(p.operand_floats()));
  backend.run(kernels::AttentionGrad{.forward = core(p, from, out, sums),
                                     .dout = output(p, memory.recent_input(p.out_floats())),
                                     .dq = to.q,
                                     .dk = to.k,
                                     .dv = to.v});
}

}  // namespace

Run after(Run first, Run second) {
  return [first = std::move(first), second = std::move(second)](Backend& b, RotatingMemory& m) {
    first(b, m);
    second(b, m);
  };
}

Given recent(RotatingMemory& memory, std::int64_t count, bool narrow) {
  if (narrow) return {nullptr, memory.recent_narrow_input(count)};
  return {memory.recent_input(count), nullptr};
}

Given waited(RotatingMemory& memory, std::int64_t count, bool narrow) {
  if (narrow) return {nullptr, memory.narrow_input(count)};
  return {memory.input(count), nullptr};
}

Made kept(RotatingMemory& memory, std::int64_t count, bool narrow) {
  if (narrow) return {nullptr, memory.narrow_output(count)};
  return {memory.output(count), nullptr};
}

Made fresh(RotatingMemory& memory, std::int64_t count, bool narrow) {
  if (narrow) return {nullptr, memory.recent_narrow_output(count)};
  return {memory.recent_output(count), nullptr};
}

Run matmul(const MatmulShape& shape, Direction direction, const MatmulForms& forms) {
  const MatmulPlan plan{shape, direction, forms};
  return [plan](Backend& b, RotatingMemory& m) { multiply(plan, b, m); };
}

Run attention(const AttentionShape& shape, const AttentionSpec& spec, Direction direction,
              Multiply format, bool narrow) {
  AttentionPlan plan;
  plan.shape = shape;
  plan.is_mla = spec.kind == AttentionKind::Mla;
  plan.rounds = format != Multiply::F32;
  plan.is_gathered = shape.queries != shape.keys;
  plan.narrow = narrow && !plan.is_gathered;
  plan.nope = plan.is_mla && !plan.is_gathered ? spec.qk_nope : 0;
  // Queries of a rank are spread evenly over the sequence.
  for (std::int64_t i = 0; i < plan.query_rows(); ++i) {
    const std::int64_t query = i % shape.queries;
    plan.positions.push_back(static_cast<std::int32_t>(query * shape.keys / shape.queries));
  }
  if (direction == Direction::Forward)
    return [plan](Backend& b, RotatingMemory& m) { attend(plan, b, m); };
  return [plan](Backend& b, RotatingMemory& m) { attend_back(plan, b, m); };
}

}  // namespace narrows::op_parts

// Matmuls and attention, as src/runtime/ops_linear.cc and ops_attention.cc call them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "measure/op_case_parts.h"

namespace narrows::op_parts {
namespace {

// One group of a matmul: its rows, and where its operands begin.
struct Group {
  std::int64_t rows = 0;
  const float* x = nullptr;       // (rows, stride)
  const float* dy = nullptr;      // (rows, n)
  const float* weight = nullptr;  // (n, k)
  float* out = nullptr;
};

struct MatmulPlan {
  MatmulShape shape;
  Direction direction = Direction::Forward;
  std::int64_t stride = 0;
  std::int64_t m() const { return static_cast<std::int64_t>(shape.m.expected); }
};

kernels::Matmul product(const MatmulPlan& p, const Group& g) {
  const std::int64_t n = p.shape.n, k = p.shape.k;
  switch (p.direction) {
    case Direction::Forward:
      return {.transpose_b = true,
              .m = g.rows,
              .n = n,
              .k = k,
              .a = g.x,
              .stride_a = p.stride,
              .b = g.weight,
              .stride_b = k,
              .c = g.out,
              .stride_c = n};
    case Direction::InputGrad:
      return {.m = g.rows,
              .n = k,
              .k = n,
              .a = g.dy,
              .stride_a = n,
              .b = g.weight,
              .stride_b = k,
              .c = g.out,
              .stride_c = p.stride};
    case Direction::WeightGrad:
      break;
  }
  return {.transpose_a = true,
          .m = n,
          .n = k,
          .k = g.rows,
          .a = g.dy,
          .stride_a = n,
          .b = g.x,
          .stride_b = p.stride,
          .beta = 1,
          .c = g.out,
          .stride_c = k};
}

// How many floats of results a group of so many rows has.
std::int64_t results(const MatmulPlan& p, std::int64_t rows) {
  if (p.direction == Direction::WeightGrad) return p.shape.n * p.shape.k;
  return rows * (p.direction == Direction::Forward ? p.shape.n : p.stride);
}

void multiply(const MatmulPlan& p, Multiply format, Backend& backend, RotatingMemory& memory) {
  const std::int64_t weights = p.shape.groups * p.shape.n * p.shape.k;
  const std::int64_t written = p.direction == Direction::WeightGrad ? weights : results(p, p.m());
  memory.reserve(p.m() * (p.stride + p.shape.n) + weights, written);
  const float* const x = memory.recent_input(p.m() * p.stride);
  const float* const dy = memory.recent_input(p.m() * p.shape.n);
  const float* const weight = memory.input(weights);
  // What waited for the weight gradient waited in bf16.
  const bool waited = format == Multiply::Bf16 && p.direction == Direction::WeightGrad;
  const std::uint16_t* const kept = waited ? memory.narrow_input(p.m() * p.stride) : nullptr;
  // Gradients of weights are added to, and what forward makes is kept: memory that was last used in
  // another layer. Gradients of inputs lie where others just lay.
  const bool is_fresh = p.direction != Direction::InputGrad;
  float* out = is_fresh ? memory.output(written) : memory.recent_output(written);
  for (std::int64_t g = 0; g < p.shape.groups; ++g) {
    const std::int64_t first = p.m() * g / p.shape.groups;
    const std::int64_t rows = p.m() * (g + 1) / p.shape.groups - first;
    if (rows == 0) continue;
    kernels::Matmul op = product(p, {rows, x + first * p.stride, dy + first * p.shape.n,
                                     weight + g * p.shape.n * p.shape.k, out});
    op.to_bf16 = format != Multiply::F32 && p.direction == Direction::Forward;
    if (waited) {
      op.b = nullptr;
      op.b_narrow = kept + first * p.stride;
      op.stride_b_narrow = p.stride;
    }
    backend.run(op, format);
    out += results(p, rows);
  }
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
  bool narrow = false;  // its matmuls round to bf16
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

kernels::Attention core(const AttentionPlan& p, const float* from, const float* statistics) {
  const Operands<const float> in = operands(p, from);
  const AttentionShape& s = p.shape;
  return {.q = in.q,
          .k = in.k,
          .v = in.v,
          .out = {nullptr, std::int64_t{s.heads} * s.v_dim, s.v_dim},
          .log_sum_exp = const_cast<float*>(statistics),  // read only by the gradient
          .batch = static_cast<std::int64_t>(s.batch),
          .heads = s.heads,
          .kv_heads = s.kv_heads,
          .queries = s.queries,
          .keys = s.keys,
          .qk_dim = s.qk_dim,
          .v_dim = s.v_dim,
          .window = s.window,
          .positions = p.positions.data(),
          .narrow = p.narrow};
}

void attend(const AttentionPlan& p, Backend& backend, RotatingMemory& memory) {
  const std::int64_t statistics = p.query_rows() * p.shape.heads;
  memory.reserve(p.operand_floats(), p.out_floats() + statistics);
  kernels::Attention op = core(p, memory.recent_input(p.operand_floats()), nullptr);
  op.out.data = memory.output(p.out_floats());
  op.log_sum_exp = memory.output(statistics);
  backend.run(op);
}

void attend_back(const AttentionPlan& p, Backend& backend, RotatingMemory& memory) {
  const std::int64_t statistics = p.query_rows() * p.shape.heads;
  memory.reserve(p.operand_floats() + 2 * p.out_floats() + statistics,
                 p.operand_floats() + p.out_floats());
  const float* const from = memory.input(p.operand_floats());
  kernels::AttentionGrad op{.forward = core(p, from, memory.input(statistics))};
  op.forward.out.data = memory.output(p.out_floats());
  op.dout = {memory.recent_input(p.out_floats()), op.forward.out.row_stride, p.shape.v_dim};
  const Operands<float> to = operands(p, memory.recent_output(p.operand_floats()));
  op.dq = to.q;
  op.dk = to.k;
  op.dv = to.v;
  backend.run(op);
}

}  // namespace

Run after(Run first, Run second) {
  return [first = std::move(first), second = std::move(second)](Backend& b, RotatingMemory& m) {
    first(b, m);
    second(b, m);
  };
}

Run matmul(const MatmulShape& shape, Direction direction, std::int64_t stride, Multiply format) {
  const MatmulPlan plan{shape, direction, stride};
  return [plan, format](Backend& b, RotatingMemory& m) { multiply(plan, format, b, m); };
}

Run attention(const AttentionShape& shape, const AttentionSpec& spec, Direction direction,
              Multiply format) {
  AttentionPlan plan;
  plan.shape = shape;
  plan.is_mla = spec.kind == AttentionKind::Mla;
  plan.narrow = format != Multiply::F32;
  plan.is_gathered = shape.queries != shape.keys;
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

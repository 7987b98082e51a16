// SPDX-License-Identifier: Apache-2.0
#include "measure/op_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "measure/op_case_parts.h"

namespace narrows {
namespace {

using op_parts::Rows32;

std::int64_t whole(double expected) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(expected + 0.5));
}

const Op& forward_of(const GraphSite& site, const Op& op) {
  return op.forward < 0 ? op : site.graph.forward[static_cast<std::size_t>(op.forward)];
}

const Tensor& tensor(const GraphSite& site, TensorId id) {
  return site.graph.tensors[static_cast<std::size_t>(id)];
}

Rows32 extent(const GraphSite& site, TensorId id) {
  const Tensor& t = tensor(site, id);
  return {whole(t.rows.expected), whole(t.columns)};
}

Measurement moved(const char* name, Direction direction, Bytes traffic) {
  Measurement m;
  m.family = KernelFamily::Memory;
  m.recipe = Recipe::F32;
  m.direction = direction;
  m.memory_class = name;
  m.traffic = std::floor(traffic / byte) * byte;
  return m;
}

OpCase matmul_of(const GraphSite& site, const Op& op) {
  const Op& forward = forward_of(site, op);
  OpCase c;
  c.name = forward.name;
  c.what.family = KernelFamily::Matmul;
  c.what.recipe = op.precision;
  c.what.direction = op.direction;
  c.what.matmul = op.matmul;
  c.what.matmul.m = exactly(static_cast<double>(whole(op.matmul.m.expected)));
  // The router multiplies in f32 whatever the recipe.
  const bool narrow = op.precision != Recipe::F32 && forward.name != "router";
  const std::int64_t stride = extent(site, forward.inputs.front()).columns;
  c.run = op_parts::matmul(c.what.matmul, op.direction, std::max(stride, op.matmul.k), narrow);
  return c;
}

OpCase attention_of(const GraphSite& site, const Op& op) {
  OpCase c;
  c.name = "attention";
  c.what.family = KernelFamily::Attention;
  c.what.recipe = Recipe::F32;
  c.what.direction = op.direction;
  c.what.attention = op.attention;
  c.run = op_parts::attention(op.attention, site.model.attention, op.direction);
  return c;
}

// `columns` of the norm's input are normalised; of MLA's latent only those before the rotated key.
OpCase norm_of(const GraphSite& site, const Op& op) {
  const Op& forward = forward_of(site, op);
  OpCase c;
  c.name = forward.name;
  c.what = moved("norm", op.direction, op.traffic);
  const Rows32 in = extent(site, forward.inputs.front());
  const std::int64_t columns =
      forward.name == "kv latent norm" ? site.model.attention.kv_lora : in.columns;
  const bool begins = forward.inputs.front() == site.graph.input;
  c.run = op_parts::norm(in, columns, op.direction, begins);
  return c;
}

OpCase rope_of(const GraphSite& site, const Op& op) {
  OpCase c;
  c.name = "rope";
  c.what = moved("rope", op.direction, op.traffic);
  const std::int64_t rows = extent(site, forward_of(site, op).inputs.front()).rows;
  c.run = op_parts::rope(rows, site.model.attention, site.sharding, op.direction);
  return c;
}

OpCase activation_of(const GraphSite& site, const Op& op) {
  const Op& forward = forward_of(site, op);
  OpCase c;
  c.name = forward.name;
  c.what = moved("activation", op.direction, op.traffic);
  const bool weighs = forward.name.starts_with("expert ");
  c.run = op_parts::activation(extent(site, forward.outputs.front()), op.direction, weighs);
  return c;
}

OpCase router_of(const GraphSite& site, const Op& op) {
  OpCase c;
  c.name = "router";
  c.what = moved("router", op.direction, op.traffic);
  const std::int64_t rows = extent(site, forward_of(site, op).inputs.front()).rows;
  c.run = op_parts::router(rows, *site.model.moe, op.direction);
  // Who gets which token is planned once it is chosen.
  if (op.direction == Direction::Forward)
    c.run = op_parts::after(std::move(c.run), op_parts::plan(rows, *site.model.moe));
  return c;
}

// A layer lays tokens out as copies and sums copies up again, forward and backward; both move the
// same bytes, so that their class holds the mean of the two.
OpCase permute_of(const GraphSite& site, const Op& op) {
  const Op& forward = forward_of(site, op);
  const bool out = forward.name == "permute";  // to the experts, or back
  OpCase c;
  c.name = forward.name;
  c.what = moved("permute", op.direction, op.traffic);
  const Rows32 in = extent(site, forward.inputs.front());
  const Rows32 to = extent(site, forward.outputs.front());
  const Rows32 copies = out ? to : in;
  const std::int64_t received = out ? in.rows : to.rows;
  c.run = op_parts::after(op_parts::spread_rows(received, copies),
                          op_parts::merge_rows(received, copies));
  c.parts = 2;
  return c;
}

OpCase sum_of(const GraphSite& site, const Op& op) {
  OpCase c;
  c.name = op.name;
  c.what = moved("elementwise", op.direction, op.traffic);
  const std::int64_t count = op.inputs.empty()
                                 ? 1
                                 : extent(site, forward_of(site, op).inputs.front()).rows *
                                       extent(site, forward_of(site, op).inputs.front()).columns;
  if (op.direction == Direction::Forward) c.run = op_parts::sum(count);
  return c;
}

OpCase embedding_of(const GraphSite& site, const Op& op) {
  OpCase c;
  c.name = "embedding";
  c.what = moved("embedding", op.direction, op.traffic);
  const Rows32 out = extent(site, forward_of(site, op).outputs.front());
  const std::int64_t table = (site.model.vocab + site.sharding.tp - 1) / site.sharding.tp;
  c.run = op_parts::embedding(out, table, op.direction);
  return c;
}

OpCase loss_of(const GraphSite& site, const Op& op) {
  OpCase c;
  c.name = "loss";
  c.what = moved("loss", op.direction, op.traffic);
  const Rows32 logits = extent(site, forward_of(site, op).inputs.front());
  if (op.direction == Direction::Forward) c.run = op_parts::loss(logits);
  return c;
}

}  // namespace

std::string key_of(const Measurement& m) {
  const std::string head = fmt::format("{} {} {} ", static_cast<int>(m.family),
                                       static_cast<int>(m.direction), static_cast<int>(m.recipe));
  if (m.family == KernelFamily::Memory)
    return head + fmt::format("{} {:.0f}", m.memory_class, m.traffic / byte);
  if (m.family == KernelFamily::Matmul) {
    return head +
           fmt::format("{} {} {} {}", m.matmul.m.expected, m.matmul.n, m.matmul.k, m.matmul.groups);
  }
  const AttentionShape& a = m.attention;
  return head + fmt::format("{} {} {} {} {} {} {} {} {}", a.batch, a.heads, a.kv_heads, a.queries,
                            a.keys, a.qk_dim, a.v_dim, a.causal, a.window);
}

OpCase op_case(const GraphSite& site, const Op& op) {
  // A pass beside an op that is in that op's kernel here.
  if (op.direction != Direction::Forward && op.forward < 0) return {};
  switch (op.kind) {
    case OpKind::Matmul:
      return matmul_of(site, op);
    case OpKind::Attention:
      return attention_of(site, op);
    case OpKind::Norm:
      return norm_of(site, op);
    case OpKind::Rope:
      return rope_of(site, op);
    case OpKind::ActivationFn:
      return activation_of(site, op);
    case OpKind::Router:
      return router_of(site, op);
    case OpKind::Permute:
      return permute_of(site, op);
    case OpKind::Elementwise:
      return sum_of(site, op);
    case OpKind::Embedding:
      return embedding_of(site, op);
    case OpKind::Loss:
      return loss_of(site, op);
    case OpKind::Quantise:
    case OpKind::Optimizer:
    case OpKind::Collective:
      break;
  }
  return {};
}

OpCase matmul_case(Recipe recipe, const MatmulShape& shape) {
  OpCase c;
  c.name = "matmul";
  c.what.family = KernelFamily::Matmul;
  c.what.recipe = recipe;
  c.what.matmul = shape;
  c.run = op_parts::matmul(shape, Direction::Forward, shape.k, recipe != Recipe::F32);
  return c;
}

OpCase optimizer_case(std::int64_t parameters) {
  OpCase c;
  c.name = "optimizer";
  // Weight, gradient and both moments read; weight and moments written.
  c.what = moved("optimizer", Direction::Forward, static_cast<double>(parameters) * 28 * byte);
  c.run = op_parts::optimizer(parameters);
  return c;
}

OpCase packing_case(std::int64_t floats, Direction direction) {
  OpCase c;
  c.name = "packing";
  c.what = moved("quantise", direction, static_cast<double>(floats) * 6 * byte);
  c.run = op_parts::packing(floats, direction != Direction::Forward);
  return c;
}

OpCase copy_case(Bytes bytes) {
  OpCase c;
  c.name = "copy";
  c.what = moved("copy", Direction::Forward, 2 * bytes);
  c.run = op_parts::copy(static_cast<std::int64_t>(bytes / (4 * byte)));
  return c;
}

void run_calibration(Backend& backend, RotatingMemory& memory) {
  constexpr std::int64_t kSide = 192;
  memory.reserve(2 * kSide * kSide, kSide * kSide);
  const float* const a = memory.input(kSide * kSide);
  const float* const b = memory.input(kSide * kSide);
  backend.run(kernels::Matmul{.m = kSide,
                              .n = kSide,
                              .k = kSide,
                              .a = a,
                              .stride_a = kSide,
                              .b = b,
                              .stride_b = kSide,
                              .c = memory.output(kSide * kSide),
                              .stride_c = kSide},
              Multiply::F32);
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "measure/op_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "measure/op_case_parts.h"

namespace narrows {
namespace {

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

// Whether activations lie in bf16.
bool is_narrow(const GraphSite& site) { return site.makes_bf16 && site.recipe == Recipe::Bf16; }

Measurement moved(const char* name, Direction direction, Bytes traffic,
                  Recipe recipe = Recipe::F32) {
  Measurement m;
  m.family = KernelFamily::Memory;
  m.recipe = recipe;
  m.direction = direction;
  m.memory_class = name;
  m.traffic = std::floor(traffic / byte) * byte;
  return m;
}

Multiply format_of(Recipe recipe) {
  if (recipe == Recipe::Fp8Block) return Multiply::Fp8Block;
  return recipe == Recipe::F32 ? Multiply::F32 : Multiply::Bf16;
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
  const Multiply format = forward.name == "router" ? Multiply::F32 : format_of(op.precision);
  const std::int64_t stride = extent(site, forward.inputs.front()).columns;
  // Scores of experts and of tokens stay floats; gradients lie in bf16 where a matmul made the
  // value and none but matmuls read them.
  const bool is_scores = forward.name == "router" || forward.name == "head";
  const bool for_matmuls = forward.name.ends_with("gate_up") || forward.name == "expert down";
  c.run = op_parts::matmul(c.what.matmul, op.direction,
                           {.stride = std::max(stride, op.matmul.k),
                            .format = format,
                            .narrow = is_narrow(site),
                            .narrow_out = is_narrow(site) && !is_scores,
                            .narrow_grad = is_narrow(site) && for_matmuls});
  return c;
}

OpCase attention_of(const GraphSite& site, const Op& op) {
  OpCase c;
  c.name = "attention";
  c.what.family = KernelFamily::Attention;
  c.what.recipe = op.precision;
  c.what.direction = op.direction;
  c.what.attention = op.attention;
  c.run = op_parts::attention(op.attention, site.model.attention, op.direction,
                              format_of(c.what.recipe), is_narrow(site));
  return c;
}

// What moves memory: `name` is its class, its own words are the forward op's.
OpCase move_of(const GraphSite& site, const Op& op, const char* name) {
  OpCase c;
  c.name = forward_of(site, op).name;
  c.what = moved(name, op.direction, op.traffic, is_narrow(site) ? Recipe::Bf16 : Recipe::F32);
  return c;
}

// Of queries and keys, head by head or all heads as one, where they lie side by side with the
// values.
op_parts::HeadRows heads_of(const GraphSite& site, std::int64_t rows) {
  const AttentionSpec& a = site.model.attention;
  const std::int64_t heads = a.heads / site.sharding.tp;
  const std::int64_t key_heads = std::max(1, a.kv_heads / site.sharding.tp);
  const std::int64_t dim = a.head_dim, stride = (heads + 2 * key_heads) * dim;
  if (a.qk_norm == QkNorm::Full) return {rows, 1, 1, heads * dim, key_heads * dim, stride};
  return {rows, heads, key_heads, dim, dim, stride};
}

// `columns` of the norm's input are normalised; of MLA's latent only those before the rotated key.
OpCase norm_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "norm");
  const TensorId input = forward_of(site, op).inputs.front();
  const Rows32 in = extent(site, input);
  const std::int64_t columns =
      c.name == "kv latent norm" ? site.model.attention.kv_lora : in.columns;
  const bool adds = input == site.graph.input;
  c.extent = {in.rows, columns};
  if (c.name == "qk norm") {
    c.run = op_parts::head_norm(heads_of(site, in.rows), op.direction);
  } else if (site.model.norm == NormKind::Layer) {
    c.run = op_parts::layer_norm(in, op.direction, adds);
  } else {
    c.run = op_parts::norm(in, columns, op.direction, adds, is_narrow(site));
  }
  return c;
}

OpCase rope_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "rope");
  const std::int64_t rows = extent(site, forward_of(site, op).inputs.front()).rows;
  const AttentionSpec& a = site.model.attention;
  const bool is_plain = a.kind != AttentionKind::Mla;
  const std::int64_t heads = (a.heads + a.kv_heads) / site.sharding.tp;
  c.extent = {rows, is_plain ? heads * a.head_dim : 0};  // MLA assembles its keys in it
  c.run = op_parts::rope(rows, site.model.attention, site.sharding, op.direction, is_narrow(site));
  return c;
}

OpCase activation_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "activation");
  c.extent = extent(site, forward_of(site, op).outputs.front());
  c.run = site.model.activation == Activation::Gelu
              ? op_parts::gelu(c.extent, op.direction)
              : op_parts::activation(c.extent, op.direction, c.name.starts_with("expert "),
                                     is_narrow(site));
  return c;
}

OpCase router_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "router");
  const std::int64_t rows = extent(site, forward_of(site, op).inputs.front()).rows;
  c.extent = {rows, site.model.moe->experts};
  c.run = op_parts::router(rows, *site.model.moe, op.direction);
  // Who gets which token is planned once it is chosen.
  if (op.direction == Direction::Forward)
    c.run = op_parts::after(std::move(c.run), op_parts::plan(rows, *site.model.moe));
  return c;
}

// A layer lays tokens out as copies and sums copies up again, forward and backward; both move the
// same bytes, so that their class holds the mean of the two.
OpCase permute_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "permute");
  const bool out = c.name == "permute";  // to the experts, or back
  const Rows32 in = extent(site, forward_of(site, op).inputs.front());
  const Rows32 to = extent(site, forward_of(site, op).outputs.front());
  c.extent = out ? to : in;  // the copies
  const std::int64_t received = out ? in.rows : to.rows;
  const bool narrow = is_narrow(site);
  c.run = op_parts::after(op_parts::spread_rows(received, c.extent, op.direction, narrow),
                          op_parts::merge_rows(received, c.extent, op.direction, narrow));
  c.parts = 2;
  return c;
}

OpCase sum_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "elementwise");
  if (!op.inputs.empty()) c.extent = extent(site, forward_of(site, op).inputs.front());
  if (op.direction == Direction::Forward) c.run = op_parts::sum(c.extent.count(), is_narrow(site));
  return c;
}

OpCase embedding_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "embedding");
  c.name = "embedding";
  c.extent = extent(site, forward_of(site, op).outputs.front());
  const std::int64_t table = (site.model.vocab + site.sharding.tp - 1) / site.sharding.tp;
  c.run = op_parts::embedding(c.extent, table, op.direction, is_narrow(site));
  return c;
}

// Operands are quantised in their matmuls: nothing to run.
OpCase quantise_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "quantise");
  c.extent = extent(site, forward_of(site, op).inputs.front());
  return c;
}

OpCase loss_of(const GraphSite& site, const Op& op) {
  OpCase c = move_of(site, op, "loss");
  c.name = "loss";
  c.extent = extent(site, forward_of(site, op).inputs.front());
  if (op.direction == Direction::Forward) c.run = op_parts::loss(c.extent);
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
      return quantise_of(site, op);
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
  c.run =
      op_parts::matmul(shape, Direction::Forward, {.stride = shape.k, .format = format_of(recipe)});
  return c;
}

OpCase optimizer_case(std::int64_t parameters) {
  OpCase c;
  c.name = "optimizer";
  // Weight, gradient and both moments read; weight and moments written.
  c.what = moved("optimizer", Direction::Forward, static_cast<double>(parameters) * 28 * byte);
  c.extent = {parameters, 1};
  c.run = op_parts::optimizer(parameters);
  return c;
}

OpCase packing_case(std::int64_t floats, Direction direction) {
  OpCase c;
  c.name = "packing";
  c.what = moved("quantise", direction, static_cast<double>(floats) * 6 * byte);
  c.extent = {floats, 1};
  c.run = op_parts::packing(floats, direction != Direction::Forward);
  return c;
}

OpCase copy_case(Bytes bytes) {
  OpCase c;
  c.name = "copy";
  c.what = moved("copy", Direction::Forward, 2 * bytes);
  c.extent = {static_cast<std::int64_t>(bytes / (4 * byte)), 1};
  c.run = op_parts::copy(c.extent.count());
  return c;
}

}  // namespace narrows

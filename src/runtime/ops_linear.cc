// y = x W^T with W stored (n, k); dx = dy W; dW += dy^T x. Of a latent with the rotated key beside
// it only the first k columns are multiplied.
// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows::ops {
namespace {

// The rows of one group of a matmul, and its matrix.
struct Group {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t weight_offset = 0;
};

// Experts that got no rows are left out.
std::vector<Group> groups_of(const OpSite& site, const Op& op, std::int64_t rows) {
  if (!is_grouped(op)) return {{0, rows, 0}};
  const std::vector<std::int64_t>& first = site.run.exchange.first_of_expert;
  std::vector<Group> groups;
  for (std::size_t e = 0; e + 1 < first.size(); ++e) {
    const std::int64_t size = op.matmul.n * op.matmul.k;
    if (first[e + 1] > first[e])
      groups.push_back({first[e], first[e + 1] - first[e], static_cast<std::int64_t>(e) * size});
  }
  return groups;
}

// The router multiplies in f32 whatever the recipe, and the head in bf16 at the least.
Multiply format_of(const OpSite& site, const Op& op) {
  if (op.name == "router") return Multiply::F32;
  const bool widens = is_plain(op) && site.rank.format == Multiply::Fp8Block;
  return widens ? Multiply::Bf16 : site.rank.format;
}

// What lies in bf16 is multiplied as it is, by f32 too; else floats.
struct Operand {
  const float* wide = nullptr;
  const std::uint16_t* narrow = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};
Operand operand(const OpSite& site, Storage& storage, Multiply format) {
  const std::uint16_t* const narrow = bf16_of(storage);
  const bool as_it_is = narrow != nullptr && format != Multiply::Fp8Block;
  if (!as_it_is) unpack(storage, site.rank.backend, site.rank.pool);
  return {as_it_is ? nullptr : storage.data(), as_it_is ? narrow : nullptr, storage.rows(),
          storage.columns()};
}
template <typename Element>
Element* row_of(Element* first, std::int64_t row, std::int64_t columns) {
  return first == nullptr ? nullptr : first + row * columns;
}

// Scores of experts and of tokens are not rounded.
bool stays_wide(const Op& op) { return op.name == "router" || op.name == "head"; }

// Whether the gradient is to be overwritten, once a step; what no row will reach is cleared.
bool begins_gradient(const OpSite& site, const Op& op, const BoundWeight& weight) {
  if (weight.is_stale == nullptr || !*weight.is_stale) return false;
  *weight.is_stale = false;
  if (!is_grouped(op)) return true;
  const std::vector<std::int64_t>& first = site.run.exchange.first_of_expert;
  const std::int64_t size = op.matmul.n * op.matmul.k;
  for (std::size_t e = 0; e + 1 < first.size(); ++e) {
    if (first[e + 1] > first[e]) continue;
    site.rank.backend.clear(weight.gradient + static_cast<std::int64_t>(e) * size, size);
  }
  return true;
}

// What all tensor-parallel ranks hold alike is added in front of the sum over them, by one.
bool adds(const OpSite& site, const BoundWeight& bias) {
  return bias.weight.group != WeightGroup::Copies || site.rank.at.tp == 0;
}

}  // namespace

void linear(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const TensorId out = op.outputs.front();
  const Multiply format = format_of(site, op);
  const BoundWeight* const bias = site.bias(index);
  const Operand x = operand(site, site.waiting_value(op.inputs.front()), format);
  const bool floats = stays_wide(op) || bias != nullptr;
  Storage& y = site.make_value(out, x.rows, floats ? Form::F32 : site.made_form(out));
  for (const Group& g : groups_of(site, op, x.rows)) {
    site.rank.backend.run(kernels::Matmul{.transpose_b = true,
                                          .m = g.rows,
                                          .n = op.matmul.n,
                                          .k = op.matmul.k,
                                          .a = row_of(x.wide, g.first, x.columns),
                                          .stride_a = x.columns,
                                          .b = site.weight(index).value + g.weight_offset,
                                          .stride_b = op.matmul.k,
                                          .c = row_of(floats_of(y), g.first, y.columns()),
                                          .stride_c = y.columns(),
                                          .a_narrow = row_of(x.narrow, g.first, x.columns),
                                          .stride_a_narrow = x.columns,
                                          .to_bf16 = site.rounds() && !stays_wide(op),
                                          .c_narrow = row_of(bf16_of(y), g.first, y.columns()),
                                          .stride_c_narrow = y.columns()},
                          format);
  }
  if (bias == nullptr || !adds(site, *bias)) return;
  site.rank.backend.run(
      kernels::AddBias{y.data(), bias->value, y.rows(), y.columns(), site.rounds()});
}

void linear_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Multiply format = format_of(site, op);
  const Operand dy = operand(site, site.waiting_grad(op.outputs.front()), format);
  const OpSite::Target dx = site.grad_target(op.inputs.front(), dy.rows);
  ASSERT(!dx.fresh || dx.storage.columns() == op.matmul.k);
  std::vector<kernels::Matmul> products;
  for (const Group& g : groups_of(site, op, dy.rows)) {
    products.push_back(kernels::Matmul{.m = g.rows,
                                       .n = op.matmul.k,
                                       .k = op.matmul.n,
                                       .a = row_of(dy.wide, g.first, dy.columns),
                                       .stride_a = dy.columns,
                                       .b = site.weight(index).value + g.weight_offset,
                                       .stride_b = op.matmul.k,
                                       .beta = dx.beta(),
                                       .c = dx.storage.data() + g.first * dx.storage.columns(),
                                       .stride_c = dx.storage.columns(),
                                       .a_narrow = row_of(dy.narrow, g.first, dy.columns),
                                       .stride_a_narrow = dy.columns});
  }
  site.rank.backend.run(products, format);
}

void linear_weight_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Multiply format = format_of(site, op);
  const Operand dy = operand(site, site.waiting_grad(op.outputs.front()), format);
  const Operand x = operand(site, site.waiting_value(op.inputs.front()), format);
  const float beta = begins_gradient(site, op, site.weight(index)) ? 0.0f : 1.0f;
  for (const Group& g : groups_of(site, op, dy.rows)) {
    site.rank.backend.run(kernels::Matmul{.transpose_a = true,
                                          .m = op.matmul.n,
                                          .n = op.matmul.k,
                                          .k = g.rows,
                                          .a = row_of(dy.wide, g.first, dy.columns),
                                          .stride_a = dy.columns,
                                          .b = row_of(x.wide, g.first, x.columns),
                                          .stride_b = x.columns,
                                          .beta = beta,
                                          .c = site.weight(index).gradient + g.weight_offset,
                                          .stride_c = op.matmul.k,
                                          .a_narrow = row_of(dy.narrow, g.first, dy.columns),
                                          .stride_a_narrow = dy.columns,
                                          .b_narrow = row_of(x.narrow, g.first, x.columns),
                                          .stride_b_narrow = x.columns},
                          format);
  }
  const BoundWeight* const bias = site.bias(index);
  if (bias == nullptr) return;
  const Storage& floats = site.grad(op.outputs.front());
  site.rank.backend.run(
      kernels::BiasGrad{floats.data(), bias->gradient, floats.rows(), floats.columns()});
}

}  // namespace narrows::ops

// Multi-token prediction (deepseek2024 §2.2): a block of its own sees the hidden state of a token
// and the embedding of the next one, each normalised, and predicts the token after that. In memory
// the embedding stands first, as in the released weights of eh_proj.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/ops.h"

namespace narrows::ops {
namespace {

// Copies rows of `columns` floats between arrays with other strides.
struct Columns {
  const float* from = nullptr;
  std::int64_t from_stride = 0;
  float* to = nullptr;
  std::int64_t to_stride = 0;
};
void copy_columns(const Columns& c, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(c.from + r * c.from_stride, columns, c.to + r * c.to_stride);
  }
}

kernels::Norm norm_of(const OpSite& site, int index) {
  const Storage& next = site.value(op_at(site, index).inputs[0]);
  return {.x = next.data(),
          .weight = site.weight(index).value,
          .rows = next.rows(),
          .columns = next.columns(),
          .stride = next.columns(),
          .epsilon = static_cast<float>(site.rank.numerics.norm_epsilon),
          .to_bf16 = site.rounds()};
}

}  // namespace

void join_next(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& state = site.value(op.inputs[1]);
  const std::int64_t h = state.columns();
  kernels::Norm norm = norm_of(site, index);
  Storage normed = site.rank.pool.matrix(norm.rows, h);
  norm.y = normed.data();
  site.rank.backend.run(norm);
  Storage& both = site.make_value(op.outputs.front(), norm.rows);
  copy_columns({normed.data(), h, both.data(), 2 * h}, norm.rows, h);
  copy_columns({state.data(), h, both.data() + h, 2 * h}, norm.rows, h);
}

void join_next_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& dboth = site.grad(op.outputs.front());
  const std::int64_t rows = dboth.rows();
  const std::int64_t h = dboth.columns() / 2;
  const OpSite::Target dnext = site.grad_target(op.inputs[0], rows);
  const OpSite::Target dstate = site.grad_target(op.inputs[1], rows);
  copy_columns({dboth.data() + h, 2 * h, dstate.storage.data(), h}, rows, h);
  Storage dnormed = site.rank.pool.matrix(rows, h);
  copy_columns({dboth.data(), 2 * h, dnormed.data(), h}, rows, h);
  Storage inverse_rms = site.rank.pool.matrix(1, rows);
  site.rank.backend.run(kernels::NormGrad{.forward = norm_of(site, index),
                                          .dy = dnormed.data(),
                                          .dx = dnext.storage.data(),
                                          .inverse_rms = inverse_rms.data(),
                                          .dweight = site.weight(index).gradient});
}

}  // namespace narrows::ops

// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm.h"

#include <cmath>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

template <typename X>
NARROWS_INLINE float inverse_rms_of(const X* x, std::int64_t columns, float epsilon) {
  const float mean = dot_of(x, x, columns) / static_cast<float>(columns);
  return 1.0f / std::sqrt(mean + epsilon);
}

template <typename X, typename Y>
NARROWS_INLINE void norm_row(const Norm& op, const X* x, Y* y) {
  const float scale = inverse_rms_of(x, op.columns, op.epsilon);
  for (std::int64_t c = 0; c < op.columns; ++c) put(y[c], wide_of(x[c]) * scale * op.weight[c]);
  for (std::int64_t c = op.columns; c < op.stride; ++c) put(y[c], wide_of(x[c]));
}

template <typename X>
NARROWS_INLINE void grad_row(const NormGrad& op, const X* x, std::int64_t r) {
  const Norm& f = op.forward;
  const float* dy = op.dy + r * f.stride;
  float* dx = op.dx + r * f.stride;
  const float scale = inverse_rms_of(x, f.columns, f.epsilon);
  op.inverse_rms[r] = scale;
  Lanes sums;
  std::int64_t c = 0;
  for (; c + kLanes <= f.columns; c += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      sums.lane[j] += dy[c + j] * f.weight[c + j] * wide_of(x[c + j]);
    }
  }
  for (; c < f.columns; ++c) sums.lane[c % kLanes] += dy[c] * f.weight[c] * wide_of(x[c]);
  const float shared = sums.sum() * scale * scale / static_cast<float>(f.columns);
  for (c = 0; c < f.columns; ++c) dx[c] = scale * (dy[c] * f.weight[c] - wide_of(x[c]) * shared);
  for (c = f.columns; c < f.stride; ++c) dx[c] = dy[c];
  if (op.add == nullptr) return;
  const float* add = op.add + r * f.stride;
  for (c = 0; c < f.stride; ++c) dx[c] += add[c];
}

template <typename X>
NARROWS_INLINE void add_weight_grad(const NormGrad& op, const X* x, std::int64_t r,
                                    std::int64_t first, std::int64_t last) {
  const float* dy = op.dy + r * op.forward.stride;
  const float scale = op.inverse_rms[r];
  for (std::int64_t c = first; c < last; ++c) op.dweight[c] += dy[c] * (wide_of(x[c]) * scale);
}

}  // namespace

NARROWS_VECTORISED
void norm(const Norm& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const std::int64_t at = r * op.stride;
    if (op.y_narrow == nullptr) {
      norm_row(op, op.x + at, op.y + at);
      if (op.to_bf16) round_run(op.y + at, op.columns);
    } else if (op.x_narrow == nullptr) {
      norm_row(op, op.x + at, op.y_narrow + at);
    } else {
      norm_row(op, op.x_narrow + at, op.y_narrow + at);
    }
  }
}

NARROWS_VECTORISED
void norm_grad(const NormGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const Norm& f = op.forward;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    if (f.x_narrow == nullptr) {
      grad_row(op, f.x + r * f.stride, r);
    } else {
      grad_row(op, f.x_narrow + r * f.stride, r);
    }
  }
}

NARROWS_VECTORISED
void norm_weight_grad(const NormGrad& op, std::int64_t first_column, std::int64_t last_column) {
  const Norm& f = op.forward;
  for (std::int64_t r = 0; r < f.rows; ++r) {
    if (f.x_narrow == nullptr) {
      add_weight_grad(op, f.x + r * f.stride, r, first_column, last_column);
    } else {
      add_weight_grad(op, f.x_narrow + r * f.stride, r, first_column, last_column);
    }
  }
}

}  // namespace narrows::kernels

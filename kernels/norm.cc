// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm.h"

#include <cmath>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

NARROWS_INLINE float inverse_rms_of(const float* x, std::int64_t columns, float epsilon) {
  const float mean = dot_of(x, x, columns) / static_cast<float>(columns);
  return 1.0f / std::sqrt(mean + epsilon);
}

}  // namespace

NARROWS_VECTORISED
void norm(const Norm& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* x = op.x + r * op.stride;
    float* y = op.y + r * op.stride;
    const float scale = inverse_rms_of(x, op.columns, op.epsilon);
    for (std::int64_t c = 0; c < op.columns; ++c) y[c] = x[c] * scale * op.weight[c];
    if (op.to_bf16) round_run(y, op.columns);
    for (std::int64_t c = op.columns; c < op.stride; ++c) y[c] = x[c];
  }
}

NARROWS_VECTORISED
void norm_grad(const NormGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const Norm& f = op.forward;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* x = f.x + r * f.stride;
    const float* dy = op.dy + r * f.stride;
    float* dx = op.dx + r * f.stride;
    const float scale = inverse_rms_of(x, f.columns, f.epsilon);
    op.inverse_rms[r] = scale;
    Lanes sums;
    std::int64_t c = 0;
    for (; c + kLanes <= f.columns; c += kLanes) {
      for (int j = 0; j < kLanes; ++j) sums.lane[j] += dy[c + j] * f.weight[c + j] * x[c + j];
    }
    for (; c < f.columns; ++c) sums.lane[c % kLanes] += dy[c] * f.weight[c] * x[c];
    const float shared = sums.sum() * scale * scale / static_cast<float>(f.columns);
    for (c = 0; c < f.columns; ++c) dx[c] = scale * (dy[c] * f.weight[c] - x[c] * shared);
    for (c = f.columns; c < f.stride; ++c) dx[c] = dy[c];
    if (op.add == nullptr) continue;
    const float* add = op.add + r * f.stride;
    for (c = 0; c < f.stride; ++c) dx[c] += add[c];
  }
}

NARROWS_VECTORISED
void norm_weight_grad(const NormGrad& op, std::int64_t first_column, std::int64_t last_column) {
  const Norm& f = op.forward;
  for (std::int64_t r = 0; r < f.rows; ++r) {
    const float* x = f.x + r * f.stride;
    const float* dy = op.dy + r * f.stride;
    const float scale = op.inverse_rms[r];
    for (std::int64_t c = first_column; c < last_column; ++c) {
      op.dweight[c] += dy[c] * (x[c] * scale);
    }
  }
}

}  // namespace narrows::kernels

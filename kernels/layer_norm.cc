// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm.h"

#include <cmath>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

struct Statistics {
  float mean = 0;
  float inverse = 0;
};

NARROWS_INLINE Statistics statistics_of(const LayerNorm& op, const float* x) {
  Lanes sums;
  std::int64_t c = 0;
  for (; c + kLanes <= op.columns; c += kLanes) {
    for (int j = 0; j < kLanes; ++j) sums.lane[j] += x[c + j];
  }
  for (; c < op.columns; ++c) sums.lane[c % kLanes] += x[c];
  const float n = static_cast<float>(op.columns);
  const float mean = sums.sum() / n;
  Lanes squares;
  for (c = 0; c + kLanes <= op.columns; c += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      squares.lane[j] += (x[c + j] - mean) * (x[c + j] - mean);
    }
  }
  for (; c < op.columns; ++c) squares.lane[c % kLanes] += (x[c] - mean) * (x[c] - mean);
  return {mean, 1.0f / std::sqrt(squares.sum() / n + op.epsilon)};
}

}  // namespace

NARROWS_VECTORISED
void layer_norm(const LayerNorm& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* x = op.x + r * op.columns;
    float* y = op.y + r * op.columns;
    const Statistics s = statistics_of(op, x);
    for (std::int64_t c = 0; c < op.columns; ++c) {
      y[c] = (x[c] - s.mean) * s.inverse * op.weight[c] + op.bias[c];
    }
    if (op.to_bf16) round_run(y, op.columns);
  }
}

NARROWS_VECTORISED
void layer_norm_grad(const LayerNormGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const LayerNorm& f = op.forward;
  const float n = static_cast<float>(f.columns);
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* x = f.x + r * f.columns;
    const float* dy = op.dy + r * f.columns;
    float* dx = op.dx + r * f.columns;
    const Statistics s = statistics_of(f, x);
    op.statistics[2 * r] = s.mean;
    op.statistics[2 * r + 1] = s.inverse;
    Lanes plain, along;
    for (std::int64_t c = 0; c < f.columns; ++c) {
      const float d = dy[c] * f.weight[c];
      plain.lane[c % kLanes] += d;
      along.lane[c % kLanes] += d * ((x[c] - s.mean) * s.inverse);
    }
    const float mean = plain.sum() / n;
    const float shared = along.sum() / n;
    for (std::int64_t c = 0; c < f.columns; ++c) {
      const float normed = (x[c] - s.mean) * s.inverse;
      dx[c] = s.inverse * (dy[c] * f.weight[c] - mean - normed * shared);
    }
    if (op.add == nullptr) continue;
    const float* add = op.add + r * f.columns;
    for (std::int64_t c = 0; c < f.columns; ++c) dx[c] += add[c];
  }
}

NARROWS_VECTORISED
void layer_norm_weight_grad(const LayerNormGrad& op, std::int64_t first_column,
                            std::int64_t last_column) {
  const LayerNorm& f = op.forward;
  for (std::int64_t r = 0; r < f.rows; ++r) {
    const float* x = f.x + r * f.columns;
    const float* dy = op.dy + r * f.columns;
    const float mean = op.statistics[2 * r];
    const float inverse = op.statistics[2 * r + 1];
    for (std::int64_t c = first_column; c < last_column; ++c) {
      op.dweight[c] += dy[c] * ((x[c] - mean) * inverse);
      op.dbias[c] += dy[c];
    }
  }
}

}  // namespace narrows::kernels

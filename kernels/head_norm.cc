// SPDX-License-Identifier: Apache-2.0
#include "kernels/head_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

float inverse_rms_of(const HeadNorm& op, const float* x) {
  return 1.0f / std::sqrt(dot_of(x, x, op.dim) / static_cast<float>(op.dim) + op.epsilon);
}

// Of queries 0, of keys 1.
std::int64_t weight_row(const HeadNorm& op, std::int64_t head) { return head < op.heads ? 0 : 1; }

}  // namespace

void head_norm(const HeadNorm& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* x = op.x + r * op.stride;
    float* y = op.y + r * op.stride;
    const std::int64_t heads = op.heads + op.key_heads;
    for (std::int64_t h = 0; h < heads; ++h) {
      const float* weight = op.weight + weight_row(op, h) * op.dim;
      const float scale = inverse_rms_of(op, x + h * op.dim);
      for (std::int64_t c = 0; c < op.dim; ++c) {
        y[h * op.dim + c] = x[h * op.dim + c] * scale * weight[c];
      }
    }
    std::copy(x + heads * op.dim, x + op.stride, y + heads * op.dim);
    if (op.to_bf16) round_run(y, heads * op.dim);
  }
}

void head_norm_grad(const HeadNormGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const HeadNorm& f = op.forward;
  const std::int64_t heads = f.heads + f.key_heads;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* dy = op.dy + r * f.stride;
    float* dx = op.dx + r * f.stride;
    for (std::int64_t h = 0; h < heads; ++h) {
      const float* x = f.x + r * f.stride + h * f.dim;
      const float* weight = f.weight + weight_row(f, h) * f.dim;
      const float scale = inverse_rms_of(f, x);
      op.inverse_rms[r * heads + h] = scale;
      float shared = 0;
      for (std::int64_t c = 0; c < f.dim; ++c) shared += dy[h * f.dim + c] * weight[c] * x[c];
      shared *= scale * scale / static_cast<float>(f.dim);
      for (std::int64_t c = 0; c < f.dim; ++c) {
        dx[h * f.dim + c] = scale * (dy[h * f.dim + c] * weight[c] - x[c] * shared);
      }
    }
    std::copy(dy + heads * f.dim, dy + f.stride, dx + heads * f.dim);
  }
}

void head_norm_weight_grad(const HeadNormGrad& op, std::int64_t first_column,
                           std::int64_t last_column) {
  const HeadNorm& f = op.forward;
  const std::int64_t heads = f.heads + f.key_heads;
  for (std::int64_t r = 0; r < f.rows; ++r) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const float* x = f.x + r * f.stride + h * f.dim;
      const float* dy = op.dy + r * f.stride + h * f.dim;
      float* dweight = op.dweight + weight_row(f, h) * f.dim;
      const float scale = op.inverse_rms[r * heads + h];
      for (std::int64_t c = first_column; c < last_column; ++c) {
        dweight[c] += dy[c] * (x[c] * scale);
      }
    }
  }
}

}  // namespace narrows::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/head_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

// What is normalised together, and its weight.
struct Head {
  std::int64_t first = 0;  // column
  std::int64_t dim = 0;
  std::int64_t weight = 0;
};
Head head_of(const HeadNorm& op, std::int64_t h) {
  if (h < op.heads) return {h * op.dim, op.dim, 0};
  const std::int64_t width = key_width(op);
  return {op.heads * op.dim + (h - op.heads) * width, width, op.dim};
}

std::int64_t normalised(const HeadNorm& op) {
  return op.heads * op.dim + op.key_heads * key_width(op);
}

NARROWS_INLINE float inverse_rms_of(const float* x, const Head& head, float epsilon) {
  return 1.0f / std::sqrt(dot_of(x, x, head.dim) / static_cast<float>(head.dim) + epsilon);
}

}  // namespace

NARROWS_VECTORISED
void head_norm(const HeadNorm& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    for (std::int64_t h = 0; h < op.heads + op.key_heads; ++h) {
      const Head head = head_of(op, h);
      const float* x = op.x + r * op.stride + head.first;
      const float* weight = op.weight + head.weight;
      float* y = op.y + r * op.stride + head.first;
      const float scale = inverse_rms_of(x, head, op.epsilon);
      for (std::int64_t c = 0; c < head.dim; ++c) y[c] = x[c] * scale * weight[c];
      if (op.to_bf16) round_run(y, head.dim);
    }
    const std::int64_t behind = r * op.stride + normalised(op);
    std::copy(op.x + behind, op.x + (r + 1) * op.stride, op.y + behind);
  }
}

NARROWS_VECTORISED
void head_norm_grad(const HeadNormGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const HeadNorm& f = op.forward;
  const std::int64_t heads = f.heads + f.key_heads;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const Head head = head_of(f, h);
      const float* x = f.x + r * f.stride + head.first;
      const float* dy = op.dy + r * f.stride + head.first;
      const float* weight = f.weight + head.weight;
      float* dx = op.dx + r * f.stride + head.first;
      const float scale = inverse_rms_of(x, head, f.epsilon);
      op.inverse_rms[r * heads + h] = scale;
      float shared = 0;
      for (std::int64_t c = 0; c < head.dim; ++c) shared += dy[c] * weight[c] * x[c];
      shared *= scale * scale / static_cast<float>(head.dim);
      for (std::int64_t c = 0; c < head.dim; ++c)
        dx[c] = scale * (dy[c] * weight[c] - x[c] * shared);
    }
    const std::int64_t behind = r * f.stride + normalised(f);
    std::copy(op.dy + behind, op.dy + (r + 1) * f.stride, op.dx + behind);
  }
}

NARROWS_VECTORISED
void head_norm_weight_grad(const HeadNormGrad& op, std::int64_t first_column,
                           std::int64_t last_column) {
  const HeadNorm& f = op.forward;
  const std::int64_t heads = f.heads + f.key_heads;
  for (std::int64_t r = 0; r < f.rows; ++r) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const Head head = head_of(f, h);
      const float* x = f.x + r * f.stride + head.first;
      const float* dy = op.dy + r * f.stride + head.first;
      float* dweight = op.dweight + head.weight;
      const float scale = op.inverse_rms[r * heads + h];
      const std::int64_t last = std::min(last_column, head.dim);
      for (std::int64_t c = first_column; c < last; ++c) dweight[c] += dy[c] * (x[c] * scale);
    }
  }
}

}  // namespace narrows::kernels

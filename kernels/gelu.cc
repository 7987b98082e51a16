// SPDX-License-Identifier: Apache-2.0
#include "kernels/gelu.h"

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

constexpr float kRoot = 0.797884560802865f;  // sqrt(2 / pi)
constexpr float kCubic = 0.044715f;

}  // namespace

NARROWS_VECTORISED
void gelu(const Gelu& op, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) {
    const float x = op.x[i];
    op.y[i] = x * sigmoid_of(2.0f * kRoot * (x + kCubic * x * x * x));
  }
  if (op.to_bf16) round_run(op.y + first, last - first);
}

NARROWS_VECTORISED
void gelu_grad(const GeluGrad& op, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) {
    const float x = op.forward.x[i];
    const float s = sigmoid_of(2.0f * kRoot * (x + kCubic * x * x * x));
    const float slope = 2.0f * kRoot * (1.0f + 3.0f * kCubic * x * x);
    op.dx[i] = op.dy[i] * (s + x * s * (1.0f - s) * slope);
  }
}

}  // namespace narrows::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation.h"

#include "kernels/vector.h"

namespace narrows::kernels {

NARROWS_VECTORISED
void swiglu(const SwiGlu& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* gate = op.x + 2 * r * op.columns;
    const float* up = gate + op.columns;
    float* y = op.y + r * op.columns;
    const float scale = op.scale == nullptr ? 1.0f : op.scale[r];
    for (std::int64_t c = 0; c < op.columns; ++c) {
      y[c] = scale * (gate[c] * sigmoid_of(gate[c]) * up[c]);
    }
  }
}

NARROWS_VECTORISED
void swiglu_grad(const SwiGluGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t columns = op.forward.columns;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* gate = op.forward.x + 2 * r * columns;
    const float* up = gate + columns;
    const float* dy = op.dy + r * columns;
    float* dgate = op.dx + 2 * r * columns;
    float* dup = dgate + columns;
    const float scale = op.forward.scale == nullptr ? 1.0f : op.forward.scale[r];
    for (std::int64_t c = 0; c < columns; ++c) {
      const float s = sigmoid_of(gate[c]);
      const float silu = gate[c] * s;
      const float d = scale * dy[c];
      dgate[c] = d * up[c] * (s + silu * (1.0f - s));
      dup[c] = d * silu;
    }
    if (op.dscale == nullptr) continue;
    Lanes sums;
    for (std::int64_t c = 0; c < columns; ++c) {
      sums.lane[c % kLanes] += dy[c] * (gate[c] * sigmoid_of(gate[c]) * up[c]);
    }
    op.dscale[r] = sums.sum();
  }
}

}  // namespace narrows::kernels

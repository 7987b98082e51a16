// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation.h"

#include <cstring>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

// Of one element, before the row's weight is applied; `scale` is the element's part of the
// weight's.
struct ElementGrad {
  float gate, up, scale;
};
NARROWS_INLINE ElementGrad element_grad(float gate, float up, float dy) {
  const float s = sigmoid_of(gate);
  const float silu = gate * s;
  return {dy * up * (s + silu * (1.0f - s)), dy * silu, dy * (silu * up)};
}

NARROWS_INLINE float wide_of(float x) { return x; }
NARROWS_INLINE float wide_of(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// One row; returns the gradient of its weight.
template <typename Element>
NARROWS_INLINE float row_grad(const SwiGluGrad& op, const Element* x, std::int64_t r) {
  const std::int64_t columns = op.forward.columns;
  const Element* gate = x + 2 * r * columns;
  const Element* up = gate + columns;
  const float* dy = op.dy + r * columns;
  float* dgate = op.dx + 2 * r * columns;
  float* dup = dgate + columns;
  const float scale = op.forward.scale == nullptr ? 1.0f : op.forward.scale[r];
  Lanes sums;
  std::int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const ElementGrad e = element_grad(wide_of(gate[c + j]), wide_of(up[c + j]), dy[c + j]);
      dgate[c + j] = scale * e.gate;
      dup[c + j] = scale * e.up;
      sums.lane[j] += e.scale;
    }
  }
  for (; c < columns; ++c) {
    const ElementGrad e = element_grad(wide_of(gate[c]), wide_of(up[c]), dy[c]);
    dgate[c] = scale * e.gate;
    dup[c] = scale * e.up;
    sums.lane[c % kLanes] += e.scale;
  }
  return sums.sum();
}

}  // namespace

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
    if (op.to_bf16) round_run(y, op.columns);
  }
}

NARROWS_VECTORISED
void swiglu_grad(const SwiGluGrad& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float dscale = op.forward.x_narrow == nullptr ? row_grad(op, op.forward.x, r)
                                                        : row_grad(op, op.forward.x_narrow, r);
    if (op.dscale != nullptr) op.dscale[r] = dscale;
  }
}

}  // namespace narrows::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation.h"

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

// One row; returns the gradient of its weight.
template <typename X, typename Dx>
NARROWS_INLINE float row_grad(const SwiGluGrad& op, const X* x, Dx* dx, std::int64_t r) {
  const std::int64_t columns = op.forward.columns;
  const X* gate = x + 2 * r * columns;
  const X* up = gate + columns;
  const float* dy = op.dy + r * columns;
  Dx* dgate = dx + 2 * r * columns;
  Dx* dup = dgate + columns;
  const float scale = op.forward.scale == nullptr ? 1.0f : op.forward.scale[r];
  Lanes sums;
  std::int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const ElementGrad e = element_grad(wide_of(gate[c + j]), wide_of(up[c + j]), dy[c + j]);
      put(dgate[c + j], scale * e.gate);
      put(dup[c + j], scale * e.up);
      sums.lane[j] += e.scale;
    }
  }
  for (; c < columns; ++c) {
    const ElementGrad e = element_grad(wide_of(gate[c]), wide_of(up[c]), dy[c]);
    put(dgate[c], scale * e.gate);
    put(dup[c], scale * e.up);
    sums.lane[c % kLanes] += e.scale;
  }
  return sums.sum();
}

template <typename X, typename Y>
NARROWS_INLINE void row(const SwiGlu& op, const X* x, Y* y, std::int64_t r) {
  const X* gate = x + 2 * r * op.columns;
  const X* up = gate + op.columns;
  const float scale = op.scale == nullptr ? 1.0f : op.scale[r];
  for (std::int64_t c = 0; c < op.columns; ++c) {
    const float g = wide_of(gate[c]);
    put(y[r * op.columns + c], scale * (g * sigmoid_of(g) * wide_of(up[c])));
  }
}

}  // namespace

NARROWS_VECTORISED
void swiglu(const SwiGlu& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    if (op.y_narrow != nullptr) {
      row(op, op.x_narrow, op.y_narrow, r);
    } else {
      row(op, op.x, op.y, r);
      if (op.to_bf16) round_run(op.y + r * op.columns, op.columns);
    }
  }
}

NARROWS_VECTORISED
void swiglu_grad(const SwiGluGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const SwiGlu& f = op.forward;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float dscale = op.dx_narrow != nullptr ? row_grad(op, f.x_narrow, op.dx_narrow, r)
                         : f.x_narrow != nullptr ? row_grad(op, f.x_narrow, op.dx, r)
                                                 : row_grad(op, f.x, op.dx, r);
    if (op.dscale != nullptr) op.dscale[r] = dscale;
  }
}

}  // namespace narrows::kernels

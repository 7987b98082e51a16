// SwiGLU, forward and backward (formulas: kernels/activation.h), a block a row.
//
// Floor, bytes of t a row of c columns: forward 3 t c, backward 5 t c. FLOPs: 8 c forward, 16 c
// backward.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + exp_fully(-x)); }

template <typename T, int kWidth>
__global__ void swiglu_kernel(const SwiGlu op) {
  const std::int64_t row = block_x();
  const T* gate = static_cast<const T*>(op.x) + 2 * row * op.columns;
  const T* up = gate + op.columns;
  T* y = static_cast<T*>(op.y) + row * op.columns;
  const float scale = op.scale == nullptr ? 1.0f : op.scale[row];
  float g[kWidth], u[kWidth];
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += threads() * kWidth) {
    load<kWidth>(gate + c, g);
    load<kWidth>(up + c, u);
    for (int i = 0; i < kWidth; ++i) g[i] = scale * (g[i] * sigmoid(g[i]) * u[i]);
    store<kWidth>(y + c, g);
  }
}

template <typename T, int kWidth>
__global__ void swiglu_grad_kernel(const SwiGluGrad op) {
  const SwiGlu& f = op.forward;
  const std::int64_t row = block_x();
  const T* gate = static_cast<const T*>(f.x) + 2 * row * f.columns;
  const T* up = gate + f.columns;
  const T* dy = static_cast<const T*>(op.dy) + row * f.columns;
  T* dgate = static_cast<T*>(op.dx) + 2 * row * f.columns;
  T* dup = dgate + f.columns;
  const float scale = f.scale == nullptr ? 1.0f : f.scale[row];
  float g[kWidth], u[kWidth], d[kWidth];
  float sum = 0;
  for (std::int64_t c = thread() * kWidth; c < f.columns; c += threads() * kWidth) {
    load<kWidth>(gate + c, g);
    load<kWidth>(up + c, u);
    load<kWidth>(dy + c, d);
    for (int i = 0; i < kWidth; ++i) {
      const float s = sigmoid(g[i]);
      const float silu = g[i] * s;
      sum += d[i] * (silu * u[i]);
      g[i] = scale * (d[i] * u[i] * (s + silu * (1.0f - s)));
      u[i] = scale * (d[i] * silu);
    }
    store<kWidth>(dgate + c, g);
    store<kWidth>(dup + c, u);
  }
  if (op.dscale == nullptr) return;
  sum = block_sum(sum, shared<float>());
  if (thread() == 0) op.dscale[row] = sum;
}

bool wide(const SwiGlu& op, const void* other) {
  return op.columns % full_width(op.type) == 0 && aligned(16, op.x, other);
}

}  // namespace

Code run(Context& context, const SwiGlu& op) {
  return by_element(op.type, wide(op, op.y), [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows), .threads = row_threads(op.columns, E::kWidth)};
    return start(context, "SwiGLU", swiglu_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const SwiGluGrad& op) {
  const SwiGlu& f = op.forward;
  return by_element(f.type, wide(f, op.dy) && aligned(16, op.dx), [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(f.rows),
                     .threads = row_threads(f.columns, E::kWidth),
                     .shared_bytes = 128};
    return start(context, "SwiGLU gradient", swiglu_grad_kernel<typename E::Of, E::kWidth>, how,
                 op);
  });
}

}  // namespace narrows::gpu

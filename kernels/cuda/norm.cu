// RMSNorm, forward and backward (formulas: kernels/norm.h). A block takes a row and reads it twice,
// the second time from its cache; the gradient of the weights is summed over 128 rows at a time,
// and then over those sums, always in the same order.
//
// Floor, bytes of t = 2 (bf16) or 4 a row of c columns: forward 2 t c; backward 3 t c (4 t c with
// `add`) for dx and 2 t c again for dweight. FLOPs: 4 c forward, 11 c backward.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

template <typename T, int kWidth>
__global__ void norm_kernel(const Norm op) {
  const std::int64_t begin = block_x() * op.stride;
  const T* x = static_cast<const T*>(op.x) + begin;
  T* y = static_cast<T*>(op.y) + begin;
  const int step = threads() * kWidth;
  float v[kWidth], w[kWidth];
  float sum = 0;
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += step) {
    load<kWidth>(x + c, v);
    for (int i = 0; i < kWidth; ++i) sum += v[i] * v[i];
  }
  sum = block_sum(sum, shared<float>());
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(op.columns) + op.epsilon);
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += step) {
    load<kWidth>(x + c, v);
    load<kWidth>(op.weight + c, w);
    for (int i = 0; i < kWidth; ++i) v[i] = v[i] * scale * w[i];
    store<kWidth>(y + c, v);
  }
  for (std::int64_t c = op.columns + thread(); c < op.stride; c += threads()) y[c] = x[c];
}

template <typename T, int kWidth>
__global__ void norm_grad_kernel(const NormGrad op) {
  const Norm& f = op.forward;
  const std::int64_t begin = block_x() * f.stride;
  const T* x = static_cast<const T*>(f.x) + begin;
  const T* dy = static_cast<const T*>(op.dy) + begin;
  const T* add = op.add == nullptr ? nullptr : static_cast<const T*>(op.add) + begin;
  T* dx = static_cast<T*>(op.dx) + begin;
  const int step = threads() * kWidth;
  float v[kWidth], w[kWidth], d[kWidth];
  float squares = 0, dots = 0;
  for (std::int64_t c = thread() * kWidth; c < f.columns; c += step) {
    load<kWidth>(x + c, v);
    load<kWidth>(f.weight + c, w);
    load<kWidth>(dy + c, d);
    for (int i = 0; i < kWidth; ++i) {
      squares += v[i] * v[i];
      dots += d[i] * w[i] * v[i];
    }
  }
  const float columns = static_cast<float>(f.columns);
  squares = block_sum(squares, shared<float>());
  dots = block_sum(dots, shared<float>(128));
  const float scale = 1.0f / sqrtf(squares / columns + f.epsilon);
  const float both = dots * scale * scale / columns;
  if (thread() == 0) op.inverse_rms[block_x()] = scale;
  for (std::int64_t c = thread() * kWidth; c < f.columns; c += step) {
    load<kWidth>(x + c, v);
    load<kWidth>(f.weight + c, w);
    load<kWidth>(dy + c, d);
    for (int i = 0; i < kWidth; ++i) d[i] = scale * (d[i] * w[i] - v[i] * both);
    if (add != nullptr) {
      load<kWidth>(add + c, v);
      for (int i = 0; i < kWidth; ++i) d[i] += v[i];
    }
    store<kWidth>(dx + c, d);
  }
  for (std::int64_t c = f.columns + thread(); c < f.stride; c += threads()) {
    set(dx[c], to_float(dy[c]) + (add == nullptr ? 0.0f : to_float(add[c])));
  }
}

// The rows 128 y .. 128 y + 127 of some columns into a row of `partial`.
template <typename T, int kWidth>
__global__ void weight_parts_kernel(const NormGrad op) {
  const Norm& f = op.forward;
  const std::int64_t c = (static_cast<std::int64_t>(block_x()) * threads() + thread()) * kWidth;
  if (c >= f.columns) return;
  const std::int64_t first = 128 * static_cast<std::int64_t>(block_y());
  const std::int64_t last = first + 128 < f.rows ? first + 128 : f.rows;
  float v[kWidth], d[kWidth];
  float sum[kWidth] = {};
  for (std::int64_t r = first; r < last; ++r) {
    load<kWidth>(static_cast<const T*>(f.x) + r * f.stride + c, v);
    load<kWidth>(static_cast<const T*>(op.dy) + r * f.stride + c, d);
    const float scale = op.inverse_rms[r];
    for (int i = 0; i < kWidth; ++i) sum[i] += d[i] * (v[i] * scale);
  }
  store<kWidth>(op.partial + block_y() * f.columns + c, sum);
}

__global__ void weight_sum_kernel(const NormGrad op) {
  const std::int64_t c = static_cast<std::int64_t>(block_x()) * threads() + thread();
  const std::int64_t columns = op.forward.columns;
  if (c >= columns) return;
  float sum = 0;
  for (std::int64_t p = 0; p < norm_parts(op.forward.rows); ++p) sum += op.partial[p * columns + c];
  op.dweight[c] += sum;
}

bool wide(const Norm& op, const void* other) {
  const int width = full_width(op.type);
  return op.columns % width == 0 && op.stride % width == 0 && aligned(16, op.x, op.weight, other);
}

}  // namespace

Code run(Context& context, const Norm& op) {
  return by_element(op.type, wide(op, op.y), [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows),
                     .threads = row_threads(op.columns, E::kWidth),
                     .shared_bytes = 128};
    return start(context, "norm", norm_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const NormGrad& op) {
  const Norm& f = op.forward;
  const bool all_wide = wide(f, op.dy) && aligned(16, op.dx, op.partial) &&
                        (op.add == nullptr || aligned(16, op.add));
  return by_element(f.type, all_wide, [&](auto e) {
    using E = decltype(e);
    const Launch rows{.x = static_cast<int>(f.rows),
                      .threads = row_threads(f.columns, E::kWidth),
                      .shared_bytes = 256};
    const Code code =
        start(context, "norm gradient", norm_grad_kernel<typename E::Of, E::kWidth>, rows, op);
    if (code != Code::Ok || op.dweight == nullptr) return code;
    const Launch parts{.x = static_cast<int>((f.columns + 128 * E::kWidth - 1) / (128 * E::kWidth)),
                       .y = static_cast<int>(norm_parts(f.rows)),
                       .threads = 128};
    const Code summed =
        start(context, "norm weights", weight_parts_kernel<typename E::Of, E::kWidth>, parts, op);
    if (summed != Code::Ok) return summed;
    const Launch sum{.x = static_cast<int>((f.columns + 255) / 256)};
    return start(context, "norm weights", weight_sum_kernel, sum, op);
  });
}

}  // namespace narrows::gpu

// Rotary positions and the assembly of MLA's keys (formulas: kernels/rope.h), a block a row.
//
// Floor, bytes of t a row: rotation 2 t heads dim; assembly 2 t heads (nope + dim), the same back.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

// The angle's cosine and sine of element j at this row's position.
struct Angles {
  const float* cosine;
  const float* sine;
};
__device__ __forceinline__ Angles angles_of(const Table& table, std::int64_t position) {
  return {table.cosine + position * (table.dim / 2), table.sine + position * (table.dim / 2)};
}

template <typename T, int kWidth>
__global__ void rotation_kernel(const Rotation op) {
  const std::int64_t row = block_x();
  const Angles at = angles_of(op.table, op.positions[row]);
  const int half = static_cast<int>(op.table.dim / 2);
  const int steps = half / kWidth;
  const float sign = op.back ? -1.0f : 1.0f;
  T* x = static_cast<T*>(op.x) + row * op.stride;
  float a[kWidth], b[kWidth], c[kWidth], s[kWidth];
  for (int i = thread(); i < op.heads * steps; i += threads()) {
    const int j = i % steps * kWidth;
    T* head = x + i / steps * op.head_stride;
    load<kWidth>(head + j, a);
    load<kWidth>(head + half + j, b);
    load<kWidth>(at.cosine + j, c);
    load<kWidth>(at.sine + j, s);
    for (int l = 0; l < kWidth; ++l) {
      const float first = a[l] * c[l] - b[l] * (sign * s[l]);
      b[l] = b[l] * c[l] + a[l] * (sign * s[l]);
      a[l] = first;
    }
    store<kWidth>(head + j, a);
    store<kWidth>(head + half + j, b);
  }
}

template <typename T, int kWidth>
__device__ __forceinline__ void copy_parts(const T* from, std::int64_t from_stride, T* to,
                                           std::int64_t to_stride, int heads, int columns) {
  const int steps = columns / kWidth;
  float v[kWidth];
  for (int i = thread(); i < heads * steps; i += threads()) {
    const int c = i % steps * kWidth;
    load<kWidth>(from + i / steps * from_stride + c, v);
    store<kWidth>(to + i / steps * to_stride + c, v);
  }
}

template <typename T, int kWidth>
__global__ void assembly_kernel(const KeyAssembly op) {
  const std::int64_t row = block_x();
  const Angles at = angles_of(op.table, op.positions[row]);
  const int heads = static_cast<int>(op.heads);
  const int dim = static_cast<int>(op.table.dim);
  const std::int64_t width = op.nope + dim;
  T* key = static_cast<T*>(op.key) + row * heads * width;
  const T* kv = static_cast<const T*>(op.kv) + row * heads * (op.nope + op.value);
  copy_parts<T, kWidth>(kv, op.nope + op.value, key, width, heads, static_cast<int>(op.nope));
  const T* turned = static_cast<const T*>(op.shared) + row * op.shared_stride;
  const int steps = dim / 2 / kWidth;
  float a[kWidth], b[kWidth], c[kWidth], s[kWidth];
  for (int i = thread(); i < heads * steps; i += threads()) {
    const int j = i % steps * kWidth;
    T* to = key + i / steps * width + op.nope + j;
    load<kWidth>(turned + j, a);
    load<kWidth>(turned + dim / 2 + j, b);
    load<kWidth>(at.cosine + j, c);
    load<kWidth>(at.sine + j, s);
    for (int l = 0; l < kWidth; ++l) {
      const float first = a[l] * c[l] - b[l] * s[l];
      b[l] = b[l] * c[l] + a[l] * s[l];
      a[l] = first;
    }
    store<kWidth>(to, a);
    store<kWidth>(to + dim / 2, b);
  }
}

// The shared part's gradient is the sum over heads: slices of heads are summed side by side, and
// then the slices. The block has at least dim / 2 threads.
template <typename T, int kWidth>
__global__ void assembly_grad_kernel(const KeyAssemblyGrad op) {
  const KeyAssembly& f = op.forward;
  const std::int64_t row = block_x();
  const int heads = static_cast<int>(f.heads);
  const int half = static_cast<int>(f.table.dim / 2);
  const std::int64_t width = f.nope + f.table.dim;
  const T* dkey = static_cast<const T*>(op.dkey) + row * heads * width;
  T* dkv = static_cast<T*>(op.dkv) + row * heads * (f.nope + f.value);
  copy_parts<T, kWidth>(dkey, width, dkv, f.nope + f.value, heads, static_cast<int>(f.nope));
  const int slices = threads() / half;
  const int slice = thread() / half;
  const int j = thread() % half;
  float* sums = shared<float>();  // (slices, 2 half)
  if (slice < slices) {
    float a = 0, b = 0;
    for (int h = slice; h < heads; h += slices) {
      a += to_float(dkey[h * width + f.nope + j]);
      b += to_float(dkey[h * width + f.nope + half + j]);
    }
    sums[slice * 2 * half + j] = a;
    sums[slice * 2 * half + half + j] = b;
  }
  barrier();
  if (thread() >= half) return;
  float a = 0, b = 0;
  for (int i = 0; i < slices; ++i) {
    a += sums[i * 2 * half + j];
    b += sums[i * 2 * half + half + j];
  }
  const Angles at = angles_of(f.table, f.positions[row]);
  T* dshared = static_cast<T*>(op.dshared) + row * f.shared_stride;
  set(dshared[j], a * at.cosine[j] + b * at.sine[j]);
  set(dshared[half + j], b * at.cosine[j] - a * at.sine[j]);
}

bool divide(int width, std::int64_t extent) { return extent % width == 0; }
template <typename... Rest>
bool divide(int width, std::int64_t extent, Rest... rest) {
  return extent % width == 0 && divide(width, rest...);
}
bool wide(const KeyAssembly& op) {
  return divide(full_width(op.type), op.nope, op.value, op.table.dim / 2, op.shared_stride) &&
         aligned(16, op.table.cosine, op.table.sine);
}

}  // namespace

Code run(Context& context, const Rotation& op) {
  const bool wide = divide(full_width(op.type), op.table.dim / 2, op.stride, op.head_stride) &&
                    aligned(16, op.x, op.table.cosine, op.table.sine);
  return by_element(op.type, wide, [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows),
                     .threads = row_threads(op.heads * op.table.dim / 2, E::kWidth)};
    return start(context, "rotation", rotation_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const KeyAssembly& op) {
  return by_element(op.type, wide(op) && aligned(16, op.kv, op.shared, op.key), [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows),
                     .threads = row_threads(op.heads * op.nope, E::kWidth)};
    return start(context, "key assembly", assembly_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const KeyAssemblyGrad& op) {
  const KeyAssembly& f = op.forward;
  const std::int64_t half = f.table.dim / 2;
  if (half < 1 || half > 256) {
    return refuse(context, Code::Unsupported,
                  "key assembly: a rotated part of %lld, expected 2 to 512",
                  static_cast<long long>(f.table.dim));
  }
  return by_element(f.type, wide(f) && aligned(16, op.dkey, op.dkv), [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(f.rows), .threads = 256, .shared_bytes = 2048};
    return start(context, "key assembly gradient", assembly_grad_kernel<typename E::Of, E::kWidth>,
                 how, op);
  });
}

}  // namespace narrows::gpu

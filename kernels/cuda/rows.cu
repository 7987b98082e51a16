// Rows picked, summed and scattered (kernels/rows.h): packing tokens for dispatch, summing what
// combine brought back, lookup tables; sums and casts of whole arrays; random numbers for tests and
// timings.
//
// Floor, bytes of t a row of c columns: pick 2 t c; sum (s + 1) t c of s summands; scatter t c + 8
// c; add 3 t and cast t + t' an element.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

template <typename T, int kWidth>
__global__ void pick_kernel(const PickRows op) {
  const std::int64_t row = block_x();
  const std::int64_t source = op.index[row];
  T* to = static_cast<T*>(op.to) + row * op.columns;
  const T* from = static_cast<const T*>(op.from) + (source < 0 ? 0 : source) * op.columns;
  float v[kWidth];
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += threads() * kWidth) {
    if (source < 0) {
      for (int i = 0; i < kWidth; ++i) v[i] = 0;
    } else {
      load<kWidth>(from + c, v);
      for (int i = 0; i < kWidth; ++i) v[i] *= op.scale;
    }
    store<kWidth>(to + c, v);
  }
}

template <typename T, int kWidth>
__global__ void sum_kernel(const SumRows op) {
  const std::int64_t row = block_x();
  T* to = static_cast<T*>(op.to) + row * op.columns;
  float v[kWidth];
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += threads() * kWidth) {
    float sum[kWidth] = {};
    if (op.accumulate) load<kWidth>(to + c, sum);
    for (std::int32_t j = op.begin[row]; j < op.begin[row + 1]; ++j) {
      load<kWidth>(static_cast<const T*>(op.from) + op.slots[j] * op.columns + c, v);
      for (int i = 0; i < kWidth; ++i) sum[i] += v[i];
    }
    store<kWidth>(to + c, sum);
  }
}

template <typename T, int kWidth>
__global__ void scatter_kernel(const ScatterRows op) {
  const std::int64_t row = block_x();
  const std::int64_t target = op.index[row];
  if (target < 0) return;
  const T* from = static_cast<const T*>(op.from) + row * op.columns;
  float v[kWidth];
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += threads() * kWidth) {
    load<kWidth>(from + c, v);
    for (int i = 0; i < kWidth; ++i) add_atomically(op.to + target * op.columns + c + i, v[i]);
  }
}

// This thread's first element of a grid that strides over an array, and the stride.
template <int kWidth>
__device__ __forceinline__ std::int64_t first_element() {
  return (static_cast<std::int64_t>(block_x()) * threads() + thread()) * kWidth;
}
template <int kWidth>
__device__ __forceinline__ std::int64_t grid_stride() {
  return static_cast<std::int64_t>(blocks_x()) * threads() * kWidth;
}

template <typename T, int kWidth>
__global__ void add_kernel(const Add op) {
  float a[kWidth], b[kWidth];
  for (std::int64_t i = first_element<kWidth>(); i < op.count; i += grid_stride<kWidth>()) {
    load<kWidth>(static_cast<const T*>(op.a) + i, a);
    load<kWidth>(static_cast<const T*>(op.b) + i, b);
    for (int j = 0; j < kWidth; ++j) a[j] += b[j];
    store<kWidth>(static_cast<T*>(op.to) + i, a);
  }
}

template <typename From, typename To, int kWidth>
__global__ void cast_kernel(const Cast op) {
  float v[kWidth];
  for (std::int64_t i = first_element<kWidth>(); i < op.count; i += grid_stride<kWidth>()) {
    load<kWidth>(static_cast<const From*>(op.from) + i, v);
    store<kWidth>(static_cast<To*>(op.to) + i, v);
  }
}

template <int kWidth>
Code start_cast(Context& context, const Cast& op) {
  const Launch how{.x = stride_blocks(op.count, kWidth, context.multiprocessors)};
  const bool from_f32 = op.type == Type::F32, to_f32 = op.out == Type::F32;
  if (from_f32 && to_f32) return start(context, "cast", cast_kernel<float, float, kWidth>, how, op);
  if (from_f32) return start(context, "cast", cast_kernel<float, Bf16, kWidth>, how, op);
  if (to_f32) return start(context, "cast", cast_kernel<Bf16, float, kWidth>, how, op);
  return start(context, "cast", cast_kernel<Bf16, Bf16, kWidth>, how, op);
}

struct Randomise {
  void* to;
  std::int64_t count;
  std::uint64_t seed;
};

// splitmix64 (steele2014) of seed and place.
__device__ __forceinline__ std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// The sum of four uniform numbers of 16 bits has a deviation of 1 / sqrt(3) of their range.
template <typename T>
__global__ void random_kernel(const Randomise op) {
  for (std::int64_t i = first_element<1>(); i < op.count; i += grid_stride<1>()) {
    std::uint64_t bits = mixed(op.seed * 0x2545f4914f6cdd1dull + static_cast<std::uint64_t>(i));
    float sum = 0;
    for (int part = 0; part < 4; ++part, bits >>= 16) sum += static_cast<float>(bits & 0xffffu);
    set(static_cast<T*>(op.to)[i], (sum / 65536.0f - 2.0f) * 0.8660254f);
  }
}

}  // namespace

Code run(Context& context, const PickRows& op) {
  const bool wide = op.columns % full_width(op.type) == 0 && aligned(16, op.from, op.to);
  return by_element(op.type, wide, [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows), .threads = row_threads(op.columns, E::kWidth)};
    return start(context, "picked rows", pick_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const SumRows& op) {
  const bool wide = op.columns % full_width(op.type) == 0 && aligned(16, op.from, op.to);
  return by_element(op.type, wide, [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows), .threads = row_threads(op.columns, E::kWidth)};
    return start(context, "summed rows", sum_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const ScatterRows& op) {
  const bool wide = op.columns % full_width(op.type) == 0 && aligned(16, op.from);
  return by_element(op.type, wide, [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows), .threads = row_threads(op.columns, E::kWidth)};
    return start(context, "scattered rows", scatter_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const Add& op) {
  const bool wide = op.count % full_width(op.type) == 0 && aligned(16, op.a, op.b, op.to);
  return by_element(op.type, wide, [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = stride_blocks(op.count, E::kWidth, context.multiprocessors)};
    return start(context, "sum", add_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const Cast& op) {
  const bool wide = op.count % 8 == 0 && aligned(16, op.from, op.to);
  return wide ? start_cast<8>(context, op) : start_cast<1>(context, op);
}

Code random_numbers(Context& context, void* to, Type type, std::int64_t count, std::uint64_t seed) {
  const Launch how{.x = stride_blocks(count, 1, context.multiprocessors)};
  const Randomise op{to, count, seed};
  return type == Type::F32 ? start(context, "random numbers", random_kernel<float>, how, op)
                           : start(context, "random numbers", random_kernel<Bf16>, how, op);
}

}  // namespace narrows::gpu

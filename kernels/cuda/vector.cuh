// Rows of f32 or bf16 read and written 16 bytes at a time where shape and addresses allow it, one
// element at a time where not; arithmetic is in f32. Sums over a block run over the lanes of its
// warps and then over the warps, always in that order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/context.cuh"

namespace narrows::gpu {

struct Bf16 {
  std::uint16_t bits;
};

__host__ __device__ __forceinline__ float as_float(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
__host__ __device__ __forceinline__ std::uint32_t as_bits(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(Bf16 x) {
  return as_float(static_cast<std::uint32_t>(x.bits) << 16);
}
__device__ __forceinline__ void set(float& to, float x) { to = x; }
__device__ __forceinline__ void set(Bf16& to, float x) {
  to.bits = static_cast<std::uint16_t>(pack_bf16(x, 0.0f));
}

template <typename T, int kWidth>
struct alignas(sizeof(T) * kWidth < 16 ? sizeof(T) * kWidth : 16) Vector {
  T at[kWidth];
};

template <int kWidth, typename T>
__device__ __forceinline__ void load(const T* from, float (&to)[kWidth]) {
  const Vector<T, kWidth> packed = *reinterpret_cast<const Vector<T, kWidth>*>(from);
  for (int i = 0; i < kWidth; ++i) to[i] = to_float(packed.at[i]);
}
template <int kWidth, typename T>
__device__ __forceinline__ void store(T* to, const float (&from)[kWidth]) {
  Vector<T, kWidth> packed;
  for (int i = 0; i < kWidth; ++i) set(packed.at[i], from[i]);
  *reinterpret_cast<Vector<T, kWidth>*>(to) = packed;
}

// The sum, or the largest, of all threads' values, known to all of them. The block has whole warps;
// `scratch` is shared memory for 32 values that nobody else uses until the next barrier.
template <typename T>
__device__ __forceinline__ T block_sum(T value, T* scratch) {
  for (int mask = 16; mask > 0; mask /= 2) value += from_lane_xor(value, mask);
  barrier();
  if (thread() % 32 == 0) scratch[thread() / 32] = value;
  barrier();
  T sum = 0;
  for (int w = 0; w < threads() / 32; ++w) sum += scratch[w];
  return sum;
}
__device__ __forceinline__ float block_max(float value, float* scratch) {
  for (int mask = 16; mask > 0; mask /= 2) value = fmaxf(value, from_lane_xor(value, mask));
  barrier();
  if (thread() % 32 == 0) scratch[thread() / 32] = value;
  barrier();
  float most = scratch[0];
  for (int w = 1; w < threads() / 32; ++w) most = fmaxf(most, scratch[w]);
  return most;
}

// The threads of a block that walks one row of `columns` in steps of `width`: whole warps, at most
// 256.
__host__ __device__ constexpr int row_threads(std::int64_t columns, int width) {
  const std::int64_t steps = (columns + width - 1) / width;
  return steps >= 256 ? 256 : static_cast<int>((steps + 31) / 32 * 32);
}
// The blocks of a grid that strides over `count` elements, `width` a thread.
__host__ __device__ constexpr int stride_blocks(std::int64_t count, int width,
                                                int multiprocessors) {
  const std::int64_t wanted = (count + 256 * width - 1) / (256 * width);
  const std::int64_t most = 16 * static_cast<std::int64_t>(multiprocessors);
  return static_cast<int>(wanted < 1 ? 1 : wanted < most ? wanted : most);
}

// Whether rows that begin at these places can be read `bytes` at a time.
inline bool aligned(std::int64_t bytes) { return bytes > 0; }
template <typename... Rest>
bool aligned(std::int64_t bytes, const void* place, const Rest*... rest) {
  return reinterpret_cast<std::uintptr_t>(place) % static_cast<std::uintptr_t>(bytes) == 0 &&
         aligned(bytes, rest...);
}

// A kernel's element type and how many elements a thread takes at a time.
template <typename T, int kWide>
struct Element {
  using Of = T;
  static constexpr int kWidth = kWide;
};
// `make` with the element of `type`, 16 bytes wide or single.
template <typename Make>
Code by_element(Type type, bool wide, const Make& make) {
  if (type == Type::F32) return wide ? make(Element<float, 4>()) : make(Element<float, 1>());
  return wide ? make(Element<Bf16, 8>()) : make(Element<Bf16, 1>());
}
// The elements of 16 bytes.
inline int full_width(Type type) { return type == Type::F32 ? 4 : 8; }

inline std::int64_t bytes_of(Type type) { return type == Type::F32 ? 4 : 2; }

}  // namespace narrows::gpu

// How kernels reach the machine's vectors: plain loops that the compiler vectorises, compiled once
// for each generation of processors and chosen when the program starts (base/vectorised.h), and
// the elementary functions written so that they vectorise too. Only + - * / and comparisons of
// floats, no contraction: the same bytes on every processor.
//
// exp: Cody-Waite reduction and a polynomial of degree 7 (cephes, moshier1989), within 2 ulp.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

#include "base/vectorised.h"

// What is written for matrix tiles; called only where the processor has them (kernels/amx.h).
#define NARROWS_TILED \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16,prfchw")))
#define NARROWS_TILED_INLINE NARROWS_TILED inline __attribute__((always_inline))

namespace narrows::kernels {

// 0 below -87, the value at 88 above it.
NARROWS_INLINE float exp_of(float x) {
  const float low = x < -87.0f ? -87.0f : x;
  const float clamped = low > 88.0f ? 88.0f : low;
  const float shifted = clamped * 1.44269504088896f + 12582912.0f;  // 1.5 * 2^23: rounds to whole
  const float whole = shifted - 12582912.0f;
  const float rest = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * rest + 1.3981999507e-3f;
  p = p * rest + 8.3334519073e-3f;
  p = p * rest + 4.1665795894e-2f;
  p = p * rest + 1.6666665459e-1f;
  p = p * rest + 5.0000001201e-1f;
  p = p * rest * rest + rest + 1.0f;
  std::int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  const std::int32_t power_bits =
      static_cast<std::int32_t>((static_cast<std::uint32_t>(bits) << 23) + 0x3f800000u);
  float power;
  std::memcpy(&power, &power_bits, 4);
  return x < -87.0f ? 0.0f : p * power;
}

NARROWS_INLINE float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

// To the nearest number of bf16, ties to even.
NARROWS_INLINE float nearest_bf16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const std::uint32_t chosen = is_nan ? 0x7fc00000u : rounded;
  float y;
  std::memcpy(&y, &chosen, 4);
  return y;
}
NARROWS_INLINE void round_run(float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] = nearest_bf16(x[i]);
}

// Elements of activations: floats, or numbers of bf16 (kernels/bf16.h).
NARROWS_INLINE float wide_of(float x) { return x; }
NARROWS_INLINE float wide_of(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
NARROWS_INLINE void put(float& to, float x) { to = x; }
NARROWS_INLINE void put(std::uint16_t& to, float x) {
  const float near = nearest_bf16(x);
  std::uint32_t bits;
  std::memcpy(&bits, &near, 4);
  to = static_cast<std::uint16_t>(bits >> 16);
}

// Sums in 16 lanes and then over the lanes, in this order on every machine.
inline constexpr int kLanes = 16;
struct Lanes {
  float lane[kLanes] = {};
  NARROWS_INLINE float sum() const {
    float half[kLanes];
    for (int i = 0; i < kLanes; ++i) half[i] = lane[i];
    for (int width = kLanes / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) half[i] += half[i + width];
    }
    return half[0];
  }
};

template <typename A, typename B>
NARROWS_INLINE float dot_of(const A* a, const B* b, std::int64_t n) {
  Lanes sums;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) sums.lane[j] += wide_of(a[i + j]) * wide_of(b[i + j]);
  }
  for (; i < n; ++i) sums.lane[i % kLanes] += wide_of(a[i]) * wide_of(b[i]);
  return sums.sum();
}

}  // namespace narrows::kernels

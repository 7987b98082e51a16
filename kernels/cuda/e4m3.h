// E4M3 (micikevicius2022): a sign, four bits of exponent with bias 7, three of mantissa; largest
// 448, no infinity. In whole-number arithmetic, for chips before sm_89 and for the host.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

namespace narrows::gpu {

// Kernels call it too: a constexpr-free inline function that nvcc compiles for both sides.
#ifdef __CUDACC__
__host__ __device__
#endif
    inline std::uint8_t
    e4m3_of(float x) {
  std::uint32_t bits;
  memcpy(&bits, &x, 4);
  const std::uint32_t sign = bits >> 24 & 0x80u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return static_cast<std::uint8_t>(sign | 0x7fu);  // not a number
  std::uint32_t out;
  if (bits < 0x3c800000u) {  // below 2^-6: steps of 2^-9, rounded by adding 2^(23 - 9)
    float value;
    memcpy(&value, &bits, 4);
    value += 16384.0f;
    memcpy(&out, &value, 4);
    out &= 0xffu;
  } else {
    bits += 0x7ffffu + (bits >> 20 & 1u);
    out = (bits >> 20) - (120u << 3);
    out = out > 0x7eu ? 0x7eu : out;
  }
  return static_cast<std::uint8_t>(sign | out);
}

}  // namespace narrows::gpu

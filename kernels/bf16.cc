// SPDX-License-Identifier: Apache-2.0
#include "kernels/bf16.h"

#include <cstring>

#include "kernels/vector.h"

namespace narrows::kernels {

NARROWS_VECTORISED
void to_bf16(const float* from, std::int64_t stride, std::int64_t columns, std::uint16_t* to,
             std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const float value = from[r * stride + c];
      std::uint32_t bits;
      std::memcpy(&bits, &value, 4);
      const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
      const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
      to[r * columns + c] = static_cast<std::uint16_t>(is_nan ? 0x7fc0u : rounded);
    }
  }
}

NARROWS_VECTORISED
void round_to_bf16(float* x, std::int64_t count) { round_run(x, count); }

NARROWS_VECTORISED
void from_bf16(const std::uint16_t* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(from[i]) << 16;
    std::memcpy(to + i, &bits, 4);
  }
}

}  // namespace narrows::kernels

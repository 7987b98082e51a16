// bf16, the upper half of a float: rounded to the nearest, ties to even. NaN stays NaN.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

// A matrix of rows `stride` floats apart, packed.
void to_bf16(const float* from, std::int64_t stride, std::int64_t columns, std::uint16_t* to,
             std::int64_t first_row, std::int64_t last_row);
// In place: floats that are numbers of bf16.
void round_to_bf16(float* x, std::int64_t count);
void from_bf16(const std::uint16_t* from, float* to, std::int64_t count);

}  // namespace narrows::kernels

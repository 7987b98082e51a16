// Block-scaled fp8 (deepseek2024 §3.3.2): matrices in E4M3 with a float of scale for every tile of
// 1 x 128 along the summed dimension, or for every block of 128 x 128 of a weight. A product sums
// 128 elements in f32, scales the partial sum by both tiles' scales, and adds it to the whole in
// f32.
//
// E4M3 (micikevicius2022): sign, four bits of exponent (bias 7), three of mantissa; no infinity,
// NaN is 0x7f and 0xff, the largest number 448, the smallest above zero 2^-9. Rounded to the
// nearest, ties to even; what is larger than 448 becomes 448. A tile's scale is its largest
// magnitude / 448.
//
// Every E4M3 number is a bf16 number, and products of two are exact in f32: so the emulation
// multiplies bf16 operands that hold E4M3 numbers, and differs from a processor with fp8 in the
// order of additions alone.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/matmul.h"

namespace narrows::kernels {

std::uint8_t to_e4m3(float x);
float from_e4m3(std::uint8_t code);
inline constexpr float kLargestE4m3 = 448.0f;

inline constexpr std::int64_t kFp8Tile = 128;
// Tiles along an extent.
inline std::int64_t fp8_tiles(std::int64_t extent) { return (extent + kFp8Tile - 1) / kFp8Tile; }

// Which elements share a scale: 128 of a row, 128 of a column, or a square of 128 x 128, whose
// scale is told of each row or of each column.
enum class Fp8Scaling { Rows, Columns, BlocksOfRows, BlocksOfColumns };

// A matrix quantised: E4M3 numbers as bf16, packed, and a scale for each outer index and tile of
// the summed dimension: (rows, tiles of columns), or of columns (columns, tiles of rows).
struct Fp8Quantise {
  const float* from = nullptr;
  std::int64_t stride = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  Fp8Scaling scaling = Fp8Scaling::Rows;
  std::uint16_t* to = nullptr;
  float* scales = nullptr;
};
// The tiles of rows [first, last), which begin at multiples of 128 unless scaled by rows.
void fp8_quantise(const Fp8Quantise& op, std::int64_t first, std::int64_t last);

// Rows in memory as they are kept: codes, and a scale for each 1 x 128 of a row.
void fp8_pack(const float* from, std::int64_t columns, std::uint8_t* codes, float* scales,
              std::int64_t first_row, std::int64_t last_row);
void fp8_unpack(const std::uint8_t* codes, const float* scales, std::int64_t columns, float* to,
                std::int64_t first_row, std::int64_t last_row);

// c (m, n) = beta c + sum over tiles t of scale_a(i, t) scale_b(j, t) (part of tile t). `shape` has
// narrow operands; scales are (m, tiles of k) and (n, tiles of k). `multiply` makes a part, `part`
// is memory for (m + 1) n floats.
struct Fp8Matmul {
  Matmul shape;
  const float* scales_a = nullptr;
  const float* scales_b = nullptr;
};
void fp8_matmul(const Fp8Matmul& op, const SmallMatmul& multiply, float* scratch, float* part);

}  // namespace narrows::kernels

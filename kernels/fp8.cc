// SPDX-License-Identifier: Apache-2.0
#include "kernels/fp8.h"

#include <algorithm>
#include <cstring>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

NARROWS_INLINE std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
NARROWS_INLINE float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// The nearest E4M3 number. Adding and subtracting 1.5 x 2^23 quanta rounds to whole quanta, ties to
// even; a quantum is 2^(e - 3), e the exponent but at least -6.
NARROWS_INLINE float rounded(float x) {
  const float low = x < -kLargestE4m3 ? -kLargestE4m3 : x;
  const float clamped = low > kLargestE4m3 ? kLargestE4m3 : low;
  const float magnitude = float_of(bits_of(clamped) & 0x7f800000u);
  const float power = magnitude < 0x1p-6f ? 0x1p-6f : magnitude;
  const float shift = power * 0x1.8p20f;
  const float whole = (clamped + shift) - shift;
  // Zero keeps its sign.
  return float_of(bits_of(whole) | (bits_of(x) & 0x80000000u));
}

NARROWS_INLINE std::uint8_t code_of(float whole) {
  const std::uint32_t bits = bits_of(whole);
  const std::uint32_t sign = (bits >> 24) & 0x80u;
  const float magnitude = float_of(bits & 0x7fffffffu);
  // Below 2^-6 the mantissa counts 2^-9; above, the exponent moves from bias 127 to 7.
  const std::uint32_t small = static_cast<std::uint32_t>(magnitude * 0x1p9f);
  const std::uint32_t large = ((bits & 0x7fffffffu) >> 20) - (120u << 3);
  return static_cast<std::uint8_t>(sign | (magnitude < 0x1p-6f ? small : large));
}

NARROWS_INLINE float decoded(std::uint8_t code) {
  const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80u) << 24;
  const std::uint32_t rest = code & 0x7fu;
  const float small = static_cast<float>(rest) * 0x1p-9f;
  const float large = float_of((rest << 20) + (120u << 23));
  return float_of(bits_of(rest < 8 ? small : large) | sign);
}

NARROWS_INLINE std::uint16_t upper_half(float x) {
  return static_cast<std::uint16_t>(bits_of(x) >> 16);
}

// A tile of zeros has the scale 1.
NARROWS_INLINE float scale_for(float most) { return most > 0 ? most / kLargestE4m3 : 1.0f; }

NARROWS_INLINE float magnitude_of(float x) { return float_of(bits_of(x) & 0x7fffffffu); }

NARROWS_INLINE float most_of(const float* x, std::int64_t count) {
  float lane[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const float m = magnitude_of(x[i + j]);
      lane[j] = m > lane[j] ? m : lane[j];
    }
  }
  for (; i < count; ++i) lane[0] = std::max(lane[0], magnitude_of(x[i]));
  float most = lane[0];
  for (int j = 1; j < kLanes; ++j) most = std::max(most, lane[j]);
  return most;
}

NARROWS_INLINE void quantise_run(const float* x, std::int64_t count, float scale,
                                 std::uint16_t* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = upper_half(rounded(x[i] / scale));
}

NARROWS_VECTORISED
void quantise_row(const Fp8Quantise& op, std::int64_t row) {
  const std::int64_t tiles = fp8_tiles(op.columns);
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t first = t * kFp8Tile;
    const std::int64_t count = std::min(kFp8Tile, op.columns - first);
    const float* x = op.from + row * op.stride + first;
    const float scale = scale_for(most_of(x, count));
    op.scales[row * tiles + t] = scale;
    quantise_run(x, count, scale, op.to + row * op.columns + first);
  }
}

// The 128 rows from `row` on, under one column's scale each.
NARROWS_VECTORISED
void quantise_columns(const Fp8Quantise& op, std::int64_t row) {
  const std::int64_t rows = std::min(kFp8Tile, op.rows - row);
  const std::int64_t tiles = fp8_tiles(op.rows);
  float scale[kFp8Tile];
  for (std::int64_t first = 0; first < op.columns; first += kFp8Tile) {
    const std::int64_t count = std::min(kFp8Tile, op.columns - first);
    const float* x = op.from + row * op.stride + first;
    std::fill_n(scale, kFp8Tile, 0.0f);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < count; ++c) {
        const float m = magnitude_of(x[r * op.stride + c]);
        scale[c] = m > scale[c] ? m : scale[c];
      }
    }
    for (std::int64_t c = 0; c < count; ++c) {
      scale[c] = scale_for(scale[c]);
      op.scales[(first + c) * tiles + row / kFp8Tile] = scale[c];
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      std::uint16_t* to = op.to + (row + r) * op.columns + first;
      for (std::int64_t c = 0; c < count; ++c) {
        to[c] = upper_half(rounded(x[r * op.stride + c] / scale[c]));
      }
    }
  }
}

NARROWS_VECTORISED
void quantise_blocks(const Fp8Quantise& op, std::int64_t row) {
  const std::int64_t rows = std::min(kFp8Tile, op.rows - row);
  const std::int64_t tiles = fp8_tiles(op.columns);
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t first = t * kFp8Tile;
    const std::int64_t count = std::min(kFp8Tile, op.columns - first);
    float most = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      most = std::max(most, most_of(op.from + (row + r) * op.stride + first, count));
    }
    const float scale = scale_for(most);
    if (op.scaling == Fp8Scaling::BlocksOfColumns) {
      for (std::int64_t c = first; c < first + count; ++c) {
        op.scales[c * fp8_tiles(op.rows) + row / kFp8Tile] = scale;
      }
    }
    for (std::int64_t r = row; r < row + rows; ++r) {
      if (op.scaling == Fp8Scaling::BlocksOfRows) op.scales[r * tiles + t] = scale;
      quantise_run(op.from + r * op.stride + first, count, scale, op.to + r * op.columns + first);
    }
  }
}

// A part under its scales, added.
NARROWS_VECTORISED
void add_part(const Fp8Matmul& op, const float* part, const float* scale_b, std::int64_t tile,
              float beta) {
  const Matmul& s = op.shape;
  const std::int64_t tiles = fp8_tiles(s.k);
  for (std::int64_t i = 0; i < s.m; ++i) {
    float* c = s.c + i * s.stride_c;
    const float* p = part + i * s.n;
    const float scale = op.scales_a[i * tiles + tile];
    if (beta == 0) {
      for (std::int64_t j = 0; j < s.n; ++j) c[j] = p[j] * (scale * scale_b[j]);
    } else {
      for (std::int64_t j = 0; j < s.n; ++j) c[j] = beta * c[j] + p[j] * (scale * scale_b[j]);
    }
  }
}

}  // namespace

std::uint8_t to_e4m3(float x) {
  if (x != x) return static_cast<std::uint8_t>(0x7fu | ((bits_of(x) >> 24) & 0x80u));
  return code_of(rounded(x));
}

float from_e4m3(std::uint8_t code) {
  const bool is_nan = (code & 0x7fu) == 0x7fu;
  return is_nan ? float_of(0x7fc00000u | static_cast<std::uint32_t>(code & 0x80u) << 24)
                : decoded(code);
}

void fp8_quantise(const Fp8Quantise& op, std::int64_t first, std::int64_t last) {
  switch (op.scaling) {
    case Fp8Scaling::Rows:
      for (std::int64_t r = first; r < last; ++r) quantise_row(op, r);
      return;
    case Fp8Scaling::Columns:
      for (std::int64_t r = first; r < last; r += kFp8Tile) quantise_columns(op, r);
      return;
    case Fp8Scaling::BlocksOfRows:
    case Fp8Scaling::BlocksOfColumns:
      for (std::int64_t r = first; r < last; r += kFp8Tile) quantise_blocks(op, r);
      return;
  }
}

NARROWS_VECTORISED
void fp8_pack(const float* from, std::int64_t columns, std::uint8_t* codes, float* scales,
              std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t tiles = fp8_tiles(columns);
  for (std::int64_t r = first_row; r < last_row; ++r) {
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t first = r * columns + t * kFp8Tile;
      const std::int64_t count = std::min(kFp8Tile, columns - t * kFp8Tile);
      const float scale = scale_for(most_of(from + first, count));
      scales[r * tiles + t] = scale;
      for (std::int64_t i = first; i < first + count; ++i) {
        codes[i] = code_of(rounded(from[i] / scale));
      }
    }
  }
}

NARROWS_VECTORISED
void fp8_unpack(const std::uint8_t* codes, const float* scales, std::int64_t columns, float* to,
                std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t tiles = fp8_tiles(columns);
  for (std::int64_t r = first_row; r < last_row; ++r) {
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t first = r * columns + t * kFp8Tile;
      const std::int64_t count = std::min(kFp8Tile, columns - t * kFp8Tile);
      const float scale = scales[r * tiles + t];
      for (std::int64_t i = first; i < first + count; ++i) to[i] = decoded(codes[i]) * scale;
    }
  }
}

void fp8_matmul(const Fp8Matmul& op, const SmallMatmul& multiply, float* scratch, float* part) {
  const Matmul& s = op.shape;
  const std::int64_t tiles = fp8_tiles(s.k);
  float* const scale_b = part + s.m * s.n;
  for (std::int64_t t = 0; t < tiles; ++t) {
    Matmul slice = s;
    slice.k = std::min(kFp8Tile, s.k - t * kFp8Tile);
    slice.a_narrow += t * kFp8Tile * (s.transpose_a ? s.stride_a_narrow : 1);
    slice.b_narrow += t * kFp8Tile * (s.transpose_b ? 1 : s.stride_b_narrow);
    slice.beta = 0;
    slice.c = part;
    slice.stride_c = s.n;
    multiply.run(slice, scratch);
    for (std::int64_t j = 0; j < s.n; ++j) scale_b[j] = op.scales_b[j * tiles + t];
    add_part(op, part, scale_b, t, t == 0 ? s.beta : 1.0f);
  }
}

}  // namespace narrows::kernels

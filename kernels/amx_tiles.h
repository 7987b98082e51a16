// Products of packed tiles (amx_pack.h), 32 x 32 of the result at a time: four accumulators share
// four loads. For amx.cc and amx_attention.cc, and only where there are tiles.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/amx_pack.h"

namespace narrows::kernels::amx {

inline constexpr std::int64_t kCorner = 2 * kEdge;
inline std::int64_t divided_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// A packed strip, and the one behind it or, at the end, the same again.
struct Strips {
  const char* first = nullptr;
  const char* second = nullptr;
};
inline Strips strips_at(const char* packed, std::int64_t strip, std::int64_t strips,
                        std::int64_t tiles) {
  const char* const first = packed + strip * tiles * kBytes;
  return {first, strip + 1 < strips ? first + tiles * kBytes : first};
}

// Two strips of a times two of b into the accumulators 0 to 3. Meanwhile the rows of 32 floats that
// will be stored are fetched into the cache: lines far apart, whose latency would be waited for.
NARROWS_TILED_INLINE void multiply_strips(const Strips& a, const Strips& b, std::int64_t tiles,
                                          const char* c, std::int64_t stride_bytes) {
  const std::int64_t rows = divided_up(kCorner, tiles);
  for (std::int64_t t = 0; t < tiles; ++t) {
    for (std::int64_t r = t * rows; r < std::min(kCorner, (t + 1) * rows); ++r) {
      __builtin_prefetch(c + r * stride_bytes, 1, 2);
      __builtin_prefetch(c + r * stride_bytes + 64, 1, 2);
    }
    _tile_loadd(4, a.first + t * kBytes, 64);
    _tile_loadd(6, b.first + t * kBytes, 64);
    _tile_loadd(5, a.second + t * kBytes, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b.second + t * kBytes, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// Where 32 x 32 of the result go; fewer at the edges.
struct Corner {
  float* c = nullptr;
  std::int64_t stride = 0;  // elements
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool adds = false;                // to what is there
  bool to_bf16 = false;             // rounded when it is stored
  std::uint16_t* narrow = nullptr;  // instead of c, `stride` apart too
};
inline Corner corner_at(const Corner& block, std::int64_t row, std::int64_t column) {
  Corner corner = block;
  const std::int64_t at = row * block.stride + column;
  if (block.narrow == nullptr) corner.c += at;
  if (block.narrow != nullptr) corner.narrow += at;
  corner.rows = std::min(kCorner, block.rows - row);
  corner.columns = std::min(kCorner, block.columns - column);
  return corner;
}

// At the edges results go by way of a whole corner.
inline void copy_corner(const float* from, std::int64_t from_stride, float* to,
                        std::int64_t to_stride, const Corner& size) {
  for (std::int64_t r = 0; r < size.rows; ++r) {
    std::copy_n(from + r * from_stride, size.columns, to + r * to_stride);
  }
}

NARROWS_TILED_INLINE void load_corner(const float* c, std::int64_t stride) {
  const std::int64_t bytes = stride * 4;
  _tile_loadd(0, c, bytes);
  _tile_loadd(1, c + kEdge, bytes);
  _tile_loadd(2, c + kEdge * stride, bytes);
  _tile_loadd(3, c + kEdge * stride + kEdge, bytes);
}
NARROWS_TILED_INLINE void store_corner(float* c, std::int64_t stride) {
  const std::int64_t bytes = stride * 4;
  _tile_stored(0, c, bytes);
  _tile_stored(1, c + kEdge, bytes);
  _tile_stored(2, c + kEdge * stride, bytes);
  _tile_stored(3, c + kEdge * stride + kEdge, bytes);
}

NARROWS_TILED_INLINE void round_corner(const Corner& to) {
  const __mmask16 low = first_lanes(to.columns);
  const __mmask16 high = first_lanes(to.columns - kEdge);
  for (std::int64_t r = 0; r < to.rows; ++r) {
    float* const row = to.c + r * to.stride;
    const __m512 left = _mm512_maskz_loadu_ps(low, row);
    const __m512 right = high == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(high, row + kEdge);
    const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(right, left));
    const __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(both));
    const __m512i second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(both, 1));
    _mm512_mask_storeu_epi32(row, low, _mm512_slli_epi32(first, 16));
    if (high != 0) _mm512_mask_storeu_epi32(row + kEdge, high, _mm512_slli_epi32(second, 16));
  }
}

NARROWS_TILED_INLINE void narrow_corner(const float* from, const Corner& to) {
  const __mmask32 lanes = first_words(to.columns);
  for (std::int64_t r = 0; r < to.rows; ++r) {
    const __m512 left = _mm512_load_ps(from + r * kCorner);
    const __m512 right = _mm512_load_ps(from + r * kCorner + kEdge);
    const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(right, left));
    _mm512_mask_storeu_epi16(to.narrow + r * to.stride, lanes, both);
  }
}

NARROWS_TILED_INLINE void multiply_corner(const Strips& a, const Strips& b, std::int64_t tiles,
                                          const Corner& to) {
  const bool whole = to.narrow == nullptr && to.rows == kCorner && to.columns == kCorner;
  alignas(64) float edge[kCorner * kCorner];
  if (!to.adds) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else if (whole) {
    load_corner(to.c, to.stride);
  } else {
    std::fill_n(edge, kCorner * kCorner, 0.0f);
    copy_corner(to.c, to.stride, edge, kCorner, to);
    load_corner(edge, kCorner);
  }
  if (to.narrow != nullptr) {
    multiply_strips(a, b, tiles, reinterpret_cast<const char*>(to.narrow), to.stride * 2);
  } else {
    multiply_strips(a, b, tiles, reinterpret_cast<const char*>(to.c), to.stride * 4);
  }
  if (whole) {
    store_corner(to.c, to.stride);
  } else if (to.narrow != nullptr) {
    store_corner(edge, kCorner);
    narrow_corner(edge, to);
  } else {
    store_corner(edge, kCorner);
    copy_corner(edge, kCorner, to.c, to.stride, to);
  }
  if (to.to_bf16) round_corner(to);
}

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t rest[15] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace narrows::kernels::amx

// Operands of a product on tiles, packed into them: rounded to bf16 where they are floats, zero
// beyond the edges. For amx.cc, and only where there are tiles.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/vector.h"

namespace narrows::kernels::amx {

inline constexpr std::int64_t kEdge = 16;     // rows of a tile, and columns of a result's
inline constexpr std::int64_t kDepth = 32;    // of one tile: what is summed over
inline constexpr std::int64_t kBytes = 1024;  // of a tile

// An operand: `outer` is m of a, n of b; elements are stored (outer, depth) or (depth, outer).
struct Source {
  const float* wide = nullptr;
  const std::uint16_t* narrow = nullptr;  // read instead, where not null
  std::int64_t stride = 0;
  bool depth_runs = true;  // a row of memory is one `outer`
};

NARROWS_TILED_INLINE __mmask16 first_lanes(std::int64_t count) {
  return count >= 16 ? static_cast<__mmask16>(0xffff)
                     : static_cast<__mmask16>((1u << std::max<std::int64_t>(0, count)) - 1u);
}
NARROWS_TILED_INLINE __mmask32 first_words(std::int64_t count) {
  return count >= 32 ? 0xffffffffu : (1u << std::max<std::int64_t>(0, count)) - 1u;
}

// 32 elements that follow each other, the first `count` of them; the rest is zero.
NARROWS_TILED_INLINE __m512i run_of(const Source& s, std::int64_t at, std::int64_t count) {
  if (s.narrow != nullptr) return _mm512_maskz_loadu_epi16(first_words(count), s.narrow + at);
  const __m512 low = _mm512_maskz_loadu_ps(first_lanes(count), s.wide + at);
  const __m512 high = count > 16 ? _mm512_maskz_loadu_ps(first_lanes(count - 16), s.wide + at + 16)
                                 : _mm512_setzero_ps();
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// 16 elements of each of two rows of memory, alternating.
NARROWS_TILED_INLINE __m512i pairs_of(const Source& s, std::int64_t at, std::int64_t rows,
                                      std::int64_t count) {
  const __mmask16 lanes = first_lanes(count);
  __m512i both;
  if (s.narrow != nullptr) {
    const __m256i even = _mm256_maskz_loadu_epi16(lanes, s.narrow + at);
    const __m256i odd = rows > 1 ? _mm256_maskz_loadu_epi16(lanes, s.narrow + at + s.stride)
                                 : _mm256_setzero_si256();
    both = _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1);
  } else {
    const __m512 even = _mm512_maskz_loadu_ps(lanes, s.wide + at);
    const __m512 odd =
        rows > 1 ? _mm512_maskz_loadu_ps(lanes, s.wide + at + s.stride) : _mm512_setzero_ps();
    both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
  }
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, both);
}

// 16 x 16 pairs of bf16, rows and columns exchanged.
NARROWS_TILED_INLINE void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // r[4 i + j] now has in its quarter q column 4 q + j of rows 4 i to 4 i + 3.
  for (int j = 0; j < 4; ++j) {
    t[j] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0x88);
    t[j + 4] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0xdd);
    t[j + 8] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0x88);
    t[j + 12] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0xdd);
  }
  for (int j = 0; j < 4; ++j) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
    r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
    r[j + 4] = _mm512_shuffle_i32x4(t[j + 4], t[j + 12], 0x88);
    r[j + 12] = _mm512_shuffle_i32x4(t[j + 4], t[j + 12], 0xdd);
  }
}

// A range of an operand: 16 of `outer`, and the depth that a tile or a block sums over.
struct Range {
  std::int64_t outer = 0;
  std::int64_t outers = 0;  // in the matrix from there on, may be above 16
  std::int64_t depth = 0;
  std::int64_t depths = 0;
};

// Fetches what the next tile will be packed from: rows are too many, and too far apart, for the
// processor to see the pattern.
NARROWS_TILED_INLINE void fetch(const Source& s, std::int64_t at, std::int64_t elements) {
  const bool narrow = s.narrow != nullptr;
  const char* const from = narrow ? reinterpret_cast<const char*>(s.narrow + at)
                                  : reinterpret_cast<const char*>(s.wide + at);
  const std::int64_t bytes = elements * (narrow ? 2 : 4);
  for (std::int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(from + b);
}

// One tile. Of a, row r is outer r and its words are the depth; of b, row p is the pair of depths
// 2 p and 2 p + 1, and its pairs are the outers.
NARROWS_TILED_INLINE void pack_tile(const Source& s, const Range& range, bool is_b, char* to) {
  __m512i r[16];
  for (std::int64_t i = 0; i < 16; ++i) {
    if (s.depth_runs) {
      const std::int64_t at = (range.outer + i) * s.stride + range.depth;
      fetch(s, at + kDepth, kDepth);
      r[i] = i < range.outers ? run_of(s, at, range.depths) : _mm512_setzero_si512();
    } else {
      const std::int64_t at = (range.depth + 2 * i) * s.stride + range.outer;
      fetch(s, at + kEdge, kEdge);
      fetch(s, at + s.stride + kEdge, kEdge);
      r[i] = 2 * i < range.depths ? pairs_of(s, at, range.depths - 2 * i, range.outers)
                                  : _mm512_setzero_si512();
    }
  }
  if (s.depth_runs == is_b) transpose(r);
  for (int i = 0; i < 16; ++i) _mm512_store_si512(to + 64 * i, r[i]);
}

// Strips of 16 outers, each its tiles along the depth; the order follows the memory's rows.
NARROWS_TILED inline void pack(const Source& s, const Range& range, bool is_b, char* to) {
  const std::int64_t strips = (range.outers + kEdge - 1) / kEdge;
  const std::int64_t tiles = (range.depths + kDepth - 1) / kDepth;
  for (std::int64_t i = 0; i < strips * tiles; ++i) {
    const std::int64_t strip = s.depth_runs ? i / tiles : i % strips;
    const std::int64_t tile = s.depth_runs ? i % tiles : i / strips;
    const std::int64_t o = strip * kEdge;
    const std::int64_t d = tile * kDepth;
    pack_tile(s, {range.outer + o, range.outers - o, range.depth + d, range.depths - d}, is_b,
              to + (strip * tiles + tile) * kBytes);
  }
}

}  // namespace narrows::kernels::amx

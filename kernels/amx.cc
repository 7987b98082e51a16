// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx.h"

#include <algorithm>

#include "base/result.h"
#include "kernels/vector.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace narrows::kernels {

#if defined(__x86_64__) && defined(__linux__)

namespace {

constexpr std::int64_t kEdge = 16;     // rows of a tile, and columns of a result's
constexpr std::int64_t kDepth = 32;    // of one tile: what is summed over
constexpr std::int64_t kBytes = 1024;  // of a tile
constexpr std::int64_t kBlockDepth = 512;
constexpr std::int64_t kBlockRows = 128;
constexpr std::int64_t kBlockColumns = 1024;
static_assert((kBlockRows + kBlockColumns) * kBlockDepth * 2 == kAmxScratch);

std::int64_t divided_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

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

// One tile. Of a, row r is outer r and its words are the depth; of b, row p is the pair of depths
// 2 p and 2 p + 1, and its pairs are the outers.
NARROWS_TILED_INLINE void pack_tile(const Source& s, const Range& range, bool is_b, char* to) {
  __m512i r[16];
  for (std::int64_t i = 0; i < 16; ++i) {
    if (s.depth_runs) {
      r[i] = i < range.outers ? run_of(s, (range.outer + i) * s.stride + range.depth, range.depths)
                              : _mm512_setzero_si512();
    } else {
      r[i] = 2 * i < range.depths ? pairs_of(s, (range.depth + 2 * i) * s.stride + range.outer,
                                             range.depths - 2 * i, range.outers)
                                  : _mm512_setzero_si512();
    }
  }
  if (s.depth_runs == is_b) transpose(r);
  for (int i = 0; i < 16; ++i) _mm512_store_si512(to + 64 * i, r[i]);
}

// Strips of 16 outers, each its tiles along the depth.
NARROWS_TILED void pack(const Source& s, const Range& range, bool is_b, char* to) {
  for (std::int64_t o = 0; o < range.outers; o += kEdge) {
    for (std::int64_t d = 0; d < range.depths; d += kDepth) {
      pack_tile(s, {range.outer + o, range.outers - o, range.depth + d, range.depths - d}, is_b,
                to);
      to += kBytes;
    }
  }
}

// Two strips of a times two of b into the accumulators 0 to 3.
NARROWS_TILED_INLINE void multiply_strips(const char* a0, const char* a1, const char* b0,
                                          const char* b1, std::int64_t tiles) {
  for (std::int64_t t = 0; t < tiles; ++t) {
    _tile_loadd(4, a0 + t * kBytes, 64);
    _tile_loadd(6, b0 + t * kBytes, 64);
    _tile_loadd(5, a1 + t * kBytes, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b1 + t * kBytes, 64);
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
  bool adds = false;     // to what is there
  bool to_bf16 = false;  // rounded when it is stored
};

// At the edges results go by way of a whole corner.
constexpr std::int64_t kCorner = 2 * kEdge;
void copy_corner(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride,
                 const Corner& size) {
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

// A packed strip, and the one behind it or, at the end, the same again.
struct Strips {
  const char* first = nullptr;
  const char* second = nullptr;
};
Strips strips_at(const char* packed, std::int64_t strip, std::int64_t strips, std::int64_t tiles) {
  const char* const first = packed + strip * tiles * kBytes;
  return {first, strip + 1 < strips ? first + tiles * kBytes : first};
}

NARROWS_TILED_INLINE void multiply_corner(const Strips& a, const Strips& b, std::int64_t tiles,
                                          const Corner& to) {
  const bool whole = to.rows == kCorner && to.columns == kCorner;
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
  multiply_strips(a.first, a.second, b.first, b.second, tiles);
  if (whole) {
    store_corner(to.c, to.stride);
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

// A packed block of a times one of b.
NARROWS_TILED void multiply_block(const char* a, const char* b, std::int64_t tiles,
                                  const Corner& to) {
  const std::int64_t row_strips = divided_up(to.rows, kEdge);
  const std::int64_t column_strips = divided_up(to.columns, kEdge);
  for (std::int64_t j = 0; j < column_strips; j += 2) {
    const Strips right = strips_at(b, j, column_strips, tiles);
    for (std::int64_t i = 0; i < row_strips; i += 2) {
      const Corner corner{to.c + i * kEdge * to.stride + j * kEdge,
                          to.stride,
                          std::min(kCorner, to.rows - i * kEdge),
                          std::min(kCorner, to.columns - j * kEdge),
                          to.adds,
                          to.to_bf16};
      multiply_corner(strips_at(a, i, row_strips, tiles), right, tiles, corner);
    }
  }
}

constexpr unsigned kTileBf16 = 1u << 22;
constexpr unsigned kTiles = 1u << 24;
constexpr long kAskForState = 0x1023;  // ARCH_REQ_XCOMP_PERM
constexpr long kTileData = 18;

bool processor_has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool tiles = (d & kTiles) != 0 && (d & kTileBf16) != 0;
  return tiles && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

bool has_amx() {
  static const bool has =
      processor_has_tiles() && syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  return has;
}

NARROWS_TILED
void amx_matmul(const Matmul& op, void* scratch) {
  const Source a{op.a, op.a_narrow, op.a_narrow == nullptr ? op.stride_a : op.stride_a_narrow,
                 !op.transpose_a};
  const Source b{op.b, op.b_narrow, op.b_narrow == nullptr ? op.stride_b : op.stride_b_narrow,
                 op.transpose_b};
  char* const packed_b = static_cast<char*>(scratch);
  char* const packed_a = packed_b + kBlockColumns * kBlockDepth * 2;
  if (op.beta != 0 && op.beta != 1) {
    for (std::int64_t r = 0; r < op.m; ++r) {
      for (std::int64_t c = 0; c < op.n; ++c) op.c[r * op.stride_c + c] *= op.beta;
    }
  }
  const TileConfig config;
  _tile_loadconfig(&config);
  for (std::int64_t k = 0; k < op.k; k += kBlockDepth) {
    const std::int64_t depth = std::min(kBlockDepth, op.k - k);
    const std::int64_t tiles = divided_up(depth, kDepth);
    for (std::int64_t n = 0; n < op.n; n += kBlockColumns) {
      const std::int64_t columns = std::min(kBlockColumns, op.n - n);
      pack(b, {n, columns, k, depth}, true, packed_b);
      for (std::int64_t m = 0; m < op.m; m += kBlockRows) {
        const std::int64_t rows = std::min(kBlockRows, op.m - m);
        pack(a, {m, rows, k, depth}, false, packed_a);
        multiply_block(packed_a, packed_b, tiles,
                       {op.c + m * op.stride_c + n, op.stride_c, rows, columns,
                        k > 0 || op.beta != 0, op.to_bf16 && k + depth == op.k});
      }
    }
  }
  _tile_release();
}

#else

bool has_amx() { return false; }

void amx_matmul(const Matmul&, void*) { ASSERT(has_amx()); }

#endif

}  // namespace narrows::kernels

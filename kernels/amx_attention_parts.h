// What the two halves of attention on tiles share: where a head's packed operands lie, which keys
// 32 queries see, and products of such rows. For amx_attention.cc and amx_attention_grad.cc, and
// only where there are tiles.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "kernels/amx_tiles.h"
#include "kernels/attention.h"

namespace narrows::kernels::amx {

inline constexpr std::int64_t kBlock = 128;  // queries whose gradients are summed at a time

inline std::int64_t padded(std::int64_t n) { return divided_up(n, kCorner) * kCorner; }

// Where things lie in the scratch; bytes.
struct Room {
  char* at = nullptr;
  std::int64_t used = 0;
  char* take(std::int64_t bytes) {
    char* const here = at == nullptr ? nullptr : at + used;
    used += divided_up(bytes, 64) * 64;
    return here;
  }
  float* floats(std::int64_t count) { return reinterpret_cast<float*>(take(count * 4)); }
};

struct Memory {
  char* keys = nullptr;       // as b of scores: strips of keys, depth of their dimensions
  char* values = nullptr;     // as b of the output: strips of dimensions, depth of keys
  char* values_t = nullptr;   // as b of dP: strips of keys
  char* keys_d = nullptr;     // as b of dQ: strips of dimensions, depth of keys
  char* queries = nullptr;    // 32 of them as a
  char* dout = nullptr;       // the same
  char* queries_t = nullptr;  // a block's as a of dK^T: strips of dimensions, depth of queries
  char* dout_t = nullptr;
  char* rows = nullptr;     // P or dS of 32 queries as a
  char* p_pairs = nullptr;  // P and dS of a block as b, depth of queries
  char* ds_pairs = nullptr;
  float* scores = nullptr;  // (32, keys)
  float* dp = nullptr;
  float* out = nullptr;   // (32, v)
  float* dk_t = nullptr;  // (dimensions, keys)
  float* dv_t = nullptr;
  std::int64_t bytes = 0;
};
inline Memory memory_of(const Attention& op, char* scratch) {
  const std::int64_t keys = padded(op.keys);
  const std::int64_t qk = padded(op.qk_dim);
  const std::int64_t v = padded(op.v_dim);
  Room room{scratch};
  Memory m;
  m.keys = room.take(keys * qk * 2);
  m.values = room.take(keys * v * 2);
  m.values_t = room.take(keys * v * 2);
  m.keys_d = room.take(keys * qk * 2);
  m.queries = room.take(kCorner * qk * 2);
  m.dout = room.take(kCorner * v * 2);
  m.queries_t = room.take(kBlock * qk * 2);
  m.dout_t = room.take(kBlock * v * 2);
  m.rows = room.take(kCorner * keys * 2);
  m.p_pairs = room.take(kBlock * keys * 2);
  m.ds_pairs = room.take(kBlock * keys * 2);
  m.scores = room.floats(kCorner * keys);
  m.dp = room.floats(kCorner * keys);
  m.out = room.floats(kCorner * v);
  m.dk_t = room.floats(qk * keys);
  m.dv_t = room.floats(v * keys);
  m.bytes = room.used;
  return m;
}

// Rows from `row` on, of one head, as an operand.
inline Source source_of(const Heads<const float>& wide, const Heads<const std::uint16_t>& narrow,
                        std::int64_t row, std::int64_t head) {
  Source s;
  if (narrow.data != nullptr) {
    s.narrow = narrow.data + row * narrow.row_stride + head * narrow.head_stride;
    s.stride = narrow.row_stride;
  } else {
    s.wide = wide.data + row * wide.row_stride + head * wide.head_stride;
    s.stride = wide.row_stride;
  }
  return s;
}
inline Source transposed(Source s) {
  s.depth_runs = false;
  return s;
}

// A sequence under a group of heads.
struct Unit {
  std::int64_t query = 0;  // the sequence's first
  std::int64_t key = 0;
  std::int64_t kv_head = 0;
  std::int64_t first_head = 0;
  std::int64_t heads = 0;
};
inline Unit unit_of(const Attention& op, std::int64_t unit) {
  const std::int64_t sequence = unit / op.kv_heads;
  const std::int64_t group = op.heads / op.kv_heads;
  const std::int64_t kv_head = unit % op.kv_heads;
  return {sequence * op.queries, sequence * op.keys, kv_head, kv_head * group, group};
}

// 32 queries, fewer at the end, and the tiles of keys that any of them sees.
struct Part {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t tile = 0;  // of 32 keys
  std::int64_t tiles = 0;
};
inline Part part_of(const Attention& op, std::int64_t first) {
  Part part{first, std::min(kCorner, op.queries - first), 0, 0};
  const std::int64_t begin = seen_keys(op, first).first;
  const std::int64_t end = seen_keys(op, first + part.rows - 1).last;
  part.tile = begin / kCorner;
  part.tiles = std::max<std::int64_t>(0, divided_up(end, kCorner) - part.tile);
  return part;
}

// e to x, 0 below -87; x is at most a little above 0.
NARROWS_TILED_INLINE __m512 exp16(__m512 x) {
  const __mmask16 is_zero = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0f), _CMP_LT_OQ);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.3981999507e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
  return _mm512_mask_mov_ps(_mm512_scalef_ps(p, n), is_zero, _mm512_setzero_ps());
}

// Of 32 numbers from `at` on, those in [first, last).
struct Halves {
  __mmask16 low = 0;
  __mmask16 high = 0;
};
NARROWS_TILED_INLINE Halves lanes_of(std::int64_t at, const SeenKeys& seen) {
  const __mmask32 below = seen.last <= at ? 0u : first_words(seen.last - at);
  const __mmask32 before = seen.first <= at ? 0u : first_words(seen.first - at);
  const __mmask32 lanes = below & ~before;
  return {static_cast<__mmask16>(lanes), static_cast<__mmask16>(lanes >> 16)};
}
NARROWS_TILED_INLINE __m512i narrowed(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// (32, tiles of keys) of a packed a times strips of keys.
NARROWS_TILED_INLINE void multiply_keys(const char* a, const char* b, std::int64_t depth,
                                        const Attention& op, const Part& part, float* to) {
  const std::int64_t tiles = divided_up(depth, kDepth);
  const std::int64_t strips = divided_up(op.keys, kEdge);
  const std::int64_t stride = padded(op.keys);
  const Strips left = strips_at(a, 0, divided_up(part.rows, kEdge), tiles);
  for (std::int64_t t = part.tile; t < part.tile + part.tiles; ++t) {
    multiply_corner(left, strips_at(b, 2 * t, strips, tiles), tiles,
                    {to + t * kCorner, stride, kCorner, kCorner});
  }
}

// A part's rows of P or dS times a packed b whose depth is the keys, into (32, columns).
NARROWS_TILED_INLINE void multiply_rows(const char* rows, const char* b, std::int64_t columns,
                                        const Attention& op, const Part& part, const Corner& to) {
  const std::int64_t tiles = divided_up(op.keys, kDepth);
  const std::int64_t skipped = part.tile * kBytes;
  const Strips left{rows + skipped, rows + tiles * kBytes + skipped};
  for (std::int64_t c = 0; c < columns; c += kCorner) {
    Strips right = strips_at(b, c / kEdge, divided_up(columns, kEdge), tiles);
    right.first += skipped;
    right.second += skipped;
    multiply_corner(left, right, part.tiles, corner_at(to, 0, c));
  }
}

// Where a row's 32 keys of tile t lie in an a.
inline char* row_at(char* rows, const Attention& op, std::int64_t row, std::int64_t t) {
  return rows + (row / kEdge * divided_up(op.keys, kDepth) + t) * kBytes + row % kEdge * 64;
}

}  // namespace narrows::kernels::amx

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/result.h"
#include "kernels/amx_attention.h"

#if defined(__x86_64__) && defined(__linux__)
#include "kernels/amx_attention_parts.h"
#endif

namespace narrows::kernels {

#if defined(__x86_64__) && defined(__linux__)

namespace {

using namespace amx;

// What a row of the backward pass needs beside its scores.
struct RowGrad {
  SeenKeys seen;
  float log_sum_exp = 0;
  float delta = 0;
};
NARROWS_TILED float delta_of(const AttentionGrad& op, std::int64_t query, std::int64_t head) {
  const Attention& f = op.forward;
  const float* const dout = op.dout.data + query * op.dout.row_stride + head * op.dout.head_stride;
  const Heads<std::uint16_t>& narrow = f.out_narrow;
  if (narrow.data == nullptr) {
    return dot_of(dout, f.out.data + query * f.out.row_stride + head * f.out.head_stride, f.v_dim);
  }
  return dot_of(dout, narrow.data + query * narrow.row_stride + head * narrow.head_stride, f.v_dim);
}
RowGrad row_grad_of(const AttentionGrad& op, const Unit& unit, std::int64_t head,
                    std::int64_t query) {
  const Attention& f = op.forward;
  RowGrad row{seen_keys(f, query), 0, 0};
  row.log_sum_exp = f.log_sum_exp[(unit.query + query) * f.heads + head];
  row.delta = delta_of(op, unit.query + query, head);
  return row;
}

// 32 numbers of bf16 of P and of dS.
struct Made {
  __m512i p, ds;
};
NARROWS_TILED_INLINE Made make(const RowGrad& row, std::int64_t t, float scale, const float* scores,
                               const float* dp) {
  const Halves lanes = lanes_of(t * kCorner, row.seen);
  const __m512 factor = _mm512_set1_ps(scale);
  const __m512 lse = _mm512_set1_ps(row.log_sum_exp);
  const __m512 delta = _mm512_set1_ps(row.delta);
  const __m512 s0 = _mm512_loadu_ps(scores + t * kCorner);
  const __m512 s1 = _mm512_loadu_ps(scores + t * kCorner + kEdge);
  const __m512 p0 = _mm512_maskz_mov_ps(lanes.low, exp16(_mm512_fmsub_ps(s0, factor, lse)));
  const __m512 p1 = _mm512_maskz_mov_ps(lanes.high, exp16(_mm512_fmsub_ps(s1, factor, lse)));
  const __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(dp + t * kCorner), delta);
  const __m512 d1 = _mm512_sub_ps(_mm512_loadu_ps(dp + t * kCorner + kEdge), delta);
  const __m512 g0 = _mm512_maskz_mul_ps(lanes.low, _mm512_mul_ps(p0, factor), d0);
  const __m512 g1 = _mm512_maskz_mul_ps(lanes.high, _mm512_mul_ps(p1, factor), d1);
  return {narrowed(p0, p1), narrowed(g0, g1)};
}

// Two rows of 32 keys, pair by pair, into the two strips of a b.
NARROWS_TILED_INLINE void store_pairs(char* to, std::int64_t strip_bytes, __m512i even,
                                      __m512i odd) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  _mm512_store_si512(to, _mm512_permutex2var_epi16(even, low, odd));
  _mm512_store_si512(to + strip_bytes, _mm512_permutex2var_epi16(even, high, odd));
}

// Queries of which gradients are summed at a time, and the tiles of keys that any of them sees.
struct GradBlock {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t tile = 0;
  std::int64_t end = 0;
  std::int64_t parts() const { return divided_up(rows, kCorner); }
};
GradBlock grad_block_of(const Attention& op, std::int64_t first) {
  GradBlock block{first, std::min(kBlock, op.queries - first), divided_up(op.keys, kCorner), 0};
  for (std::int64_t q = 0; q < block.rows; q += kCorner) {
    const Part part = part_of(op, first + q);
    if (part.tiles == 0) continue;
    block.tile = std::min(block.tile, part.tile);
    block.end = std::max(block.end, part.tile + part.tiles);
  }
  return block;
}

// P and dS of the queries 2 i and 2 i + 1 of a part, as b of the sums over queries and dS as a.
NARROWS_TILED void make_pair(const AttentionGrad& op, const Part& part, const GradBlock& block,
                             std::int64_t i, const RowGrad* rows, const Memory& m) {
  const Attention& f = op.forward;
  const float scale = attention_scale(f);
  const std::int64_t stride = padded(f.keys);
  const std::int64_t strip = block.parts() * kBytes;
  const std::int64_t at = (part.first - block.first) / kCorner * kBytes + i * 64;
  const Made nothing{_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::int64_t t = block.tile; t < block.end; ++t) {
    Made made[2] = {nothing, nothing};
    const bool sees = t >= part.tile && t < part.tile + part.tiles;
    for (std::int64_t j = 0; j < 2; ++j) {
      const std::int64_t r = 2 * i + j;
      if (!sees || r >= part.rows) continue;
      made[j] = make(rows[r], t, scale, m.scores + r * stride, m.dp + r * stride);
      _mm512_store_si512(row_at(m.rows, f, r, t), made[j].ds);
    }
    store_pairs(m.p_pairs + 2 * t * strip + at, strip, made[0].p, made[1].p);
    store_pairs(m.ds_pairs + 2 * t * strip + at, strip, made[0].ds, made[1].ds);
  }
}

NARROWS_TILED void backward_part(const AttentionGrad& op, const Unit& unit, std::int64_t head,
                                 const GradBlock& block, const Part& part, const Memory& m) {
  const Attention& f = op.forward;
  const std::int64_t query = unit.query + part.first;
  pack(source_of(f.q, f.q_narrow, query, head), {0, part.rows, 0, f.qk_dim}, false, m.queries);
  pack(source_of(op.dout, {}, query, head), {0, part.rows, 0, f.v_dim}, false, m.dout);
  multiply_keys(m.queries, m.keys, f.qk_dim, f, part, m.scores);
  multiply_keys(m.dout, m.values_t, f.v_dim, f, part, m.dp);
  RowGrad rows[kCorner];
  for (std::int64_t r = 0; r < part.rows; ++r) {
    rows[r] = row_grad_of(op, unit, head, part.first + r);
  }
  for (std::int64_t i = 0; i < kEdge; ++i) make_pair(op, part, block, i, rows, m);
  float* const dq = op.dq.data + query * op.dq.row_stride + head * op.dq.head_stride;
  if (part.tiles > 0) {
    multiply_rows(m.rows, m.keys_d, f.qk_dim, f, part, {dq, op.dq.row_stride, part.rows, f.qk_dim});
    return;
  }
  for (std::int64_t r = 0; r < part.rows; ++r) {
    std::fill_n(dq + r * op.dq.row_stride, f.qk_dim, 0.0f);
  }
}

// (columns, keys) += a block's a, strips of `columns`, times its pairs.
NARROWS_TILED void add_to_keys(const char* a, const char* pairs, std::int64_t columns,
                               const Attention& op, const GradBlock& block, float* to) {
  const std::int64_t tiles = block.parts();
  const std::int64_t stride = padded(op.keys);
  for (std::int64_t c = 0; c < columns; c += kCorner) {
    const Strips left = strips_at(a, c / kEdge, divided_up(columns, kEdge), tiles);
    for (std::int64_t t = block.tile; t < block.end; ++t) {
      const char* const right = pairs + 2 * t * tiles * kBytes;
      multiply_corner(left, {right, right + tiles * kBytes}, tiles,
                      {to + c * stride + t * kCorner, stride, kCorner, kCorner, true});
    }
  }
}

NARROWS_TILED void backward_block(const AttentionGrad& op, const Unit& unit, std::int64_t head,
                                  std::int64_t first, const Memory& m) {
  const Attention& f = op.forward;
  const GradBlock block = grad_block_of(f, first);
  for (std::int64_t q = 0; q < block.rows; q += kCorner) {
    backward_part(op, unit, head, block, part_of(f, first + q), m);
  }
  const std::int64_t query = unit.query + first;
  pack(transposed(source_of(f.q, f.q_narrow, query, head)), {0, f.qk_dim, 0, block.rows}, false,
       m.queries_t);
  pack(transposed(source_of(op.dout, {}, query, head)), {0, f.v_dim, 0, block.rows}, false,
       m.dout_t);
  add_to_keys(m.queries_t, m.ds_pairs, f.qk_dim, f, block, m.dk_t);
  add_to_keys(m.dout_t, m.p_pairs, f.v_dim, f, block, m.dv_t);
}

// (columns, keys) transposed into rows of keys.
NARROWS_TILED void store_transposed(const float* from, std::int64_t stride, std::int64_t keys,
                                    std::int64_t columns, float* to, std::int64_t to_stride) {
  for (std::int64_t k = 0; k < keys; k += kEdge) {
    for (std::int64_t c = 0; c < columns; c += kEdge) {
      __m512i r[kEdge];
      for (std::int64_t i = 0; i < kEdge; ++i) {
        r[i] = _mm512_loadu_si512(from + (c + i) * stride + k);
      }
      transpose(r);
      const __mmask16 lanes = first_lanes(columns - c);
      for (std::int64_t i = 0; i < std::min(kEdge, keys - k); ++i) {
        _mm512_mask_storeu_epi32(to + (k + i) * to_stride + c, lanes, r[i]);
      }
    }
  }
}

}  // namespace

NARROWS_TILED
void amx_attention_grad(const AttentionGrad& op, std::int64_t unit, float* scratch) {
  const Attention& f = op.forward;
  const Memory m = memory_of(f, reinterpret_cast<char*>(scratch));
  const Unit u = unit_of(f, unit);
  const TileConfig config;
  _tile_loadconfig(&config);
  const Source k = source_of(f.k, f.k_narrow, u.key, u.kv_head);
  const Source v = source_of(f.v, f.v_narrow, u.key, u.kv_head);
  pack(k, {0, f.keys, 0, f.qk_dim}, true, m.keys);
  pack(v, {0, f.keys, 0, f.v_dim}, true, m.values_t);
  pack(transposed(k), {0, f.qk_dim, 0, f.keys}, true, m.keys_d);
  const std::int64_t stride = padded(f.keys);
  std::fill_n(m.dk_t, padded(f.qk_dim) * stride, 0.0f);
  std::fill_n(m.dv_t, padded(f.v_dim) * stride, 0.0f);
  for (std::int64_t head = u.first_head; head < u.first_head + u.heads; ++head) {
    for (std::int64_t first = 0; first < f.queries; first += kBlock) {
      backward_block(op, u, head, first, m);
    }
  }
  store_transposed(m.dk_t, stride, f.keys, f.qk_dim,
                   op.dk.data + u.key * op.dk.row_stride + u.kv_head * op.dk.head_stride,
                   op.dk.row_stride);
  store_transposed(m.dv_t, stride, f.keys, f.v_dim,
                   op.dv.data + u.key * op.dv.row_stride + u.kv_head * op.dv.head_stride,
                   op.dv.row_stride);
  _tile_release();
}

#else

void amx_attention_grad(const AttentionGrad&, std::int64_t, float*) { ASSERT(false); }

#endif

}  // namespace narrows::kernels

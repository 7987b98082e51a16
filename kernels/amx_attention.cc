// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx_attention.h"

#include <algorithm>

#include "base/result.h"
#include "kernels/elementary.h"

#if defined(__x86_64__) && defined(__linux__)
#include "kernels/amx_attention_parts.h"
#endif

namespace narrows::kernels {

#if defined(__x86_64__) && defined(__linux__)

namespace {

using namespace amx;

// Scores of one row become probabilities, not yet divided by their sum, in the tiles of an a.
// Returns the sum; *most is the largest score, scaled.
NARROWS_TILED float soften(const Attention& op, const Part& part, std::int64_t row,
                           const SeenKeys& seen, const float* scores, char* rows, float* most) {
  const __m512 none = _mm512_set1_ps(kNothing);
  __m512 top = none;
  for (std::int64_t t = part.tile; t < part.tile + part.tiles; ++t) {
    const Halves lanes = lanes_of(t * kCorner, seen);
    top = _mm512_max_ps(top, _mm512_mask_loadu_ps(none, lanes.low, scores + t * kCorner));
    top = _mm512_max_ps(top, _mm512_mask_loadu_ps(none, lanes.high, scores + t * kCorner + kEdge));
  }
  const float scale = attention_scale(op);
  *most = _mm512_reduce_max_ps(top) * scale;
  const __m512 factor = _mm512_set1_ps(scale);
  const __m512 maximum = _mm512_set1_ps(*most);
  __m512 sums = _mm512_setzero_ps();
  for (std::int64_t t = part.tile; t < part.tile + part.tiles; ++t) {
    const Halves lanes = lanes_of(t * kCorner, seen);
    const __m512 s0 = _mm512_loadu_ps(scores + t * kCorner);
    const __m512 s1 = _mm512_loadu_ps(scores + t * kCorner + kEdge);
    const __m512 p0 = _mm512_maskz_mov_ps(lanes.low, exp16(_mm512_fmsub_ps(s0, factor, maximum)));
    const __m512 p1 = _mm512_maskz_mov_ps(lanes.high, exp16(_mm512_fmsub_ps(s1, factor, maximum)));
    sums = _mm512_add_ps(sums, _mm512_add_ps(p0, p1));
    _mm512_store_si512(row_at(rows, op, row, t), narrowed(p0, p1));
  }
  return _mm512_reduce_add_ps(sums);
}

NARROWS_TILED void store_out(const Attention& op, std::int64_t query, std::int64_t head,
                             const float* from, float factor) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (std::int64_t c = 0; c < op.v_dim; c += kCorner) {
    const __mmask32 lanes = first_words(op.v_dim - c);
    const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(from + c), scale);
    const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(from + c + kEdge), scale);
    const __m512i both = narrowed(low, high);
    if (op.out_narrow.data != nullptr) {
      const Heads<std::uint16_t>& to = op.out_narrow;
      _mm512_mask_storeu_epi16(to.data + query * to.row_stride + head * to.head_stride + c, lanes,
                               both);
      continue;
    }
    float* const to = op.out.data + query * op.out.row_stride + head * op.out.head_stride + c;
    const __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(both));
    const __m512i second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(both, 1));
    _mm512_mask_storeu_epi32(to, static_cast<__mmask16>(lanes), _mm512_slli_epi32(first, 16));
    if (lanes >> 16 != 0) {
      _mm512_mask_storeu_epi32(to + kEdge, static_cast<__mmask16>(lanes >> 16),
                               _mm512_slli_epi32(second, 16));
    }
  }
}

NARROWS_TILED void forward_part(const Attention& op, const Unit& unit, std::int64_t head,
                                const Part& part, const Memory& m) {
  const Source q = source_of(op.q, op.q_narrow, unit.query + part.first, head);
  pack(q, {0, part.rows, 0, op.qk_dim}, false, m.queries);
  multiply_keys(m.queries, m.keys, op.qk_dim, op, part, m.scores);
  float inverse[kCorner];
  for (std::int64_t r = 0; r < part.rows; ++r) {
    const SeenKeys seen = seen_keys(op, part.first + r);
    const bool any = seen.first < seen.last;
    float most = 0;
    const float sum = soften(op, part, r, seen, m.scores + r * padded(op.keys), m.rows, &most);
    inverse[r] = any ? 1.0f / sum : 0.0f;
    op.log_sum_exp[(unit.query + part.first + r) * op.heads + head] =
        any ? static_cast<float>(static_cast<double>(most) + natural_logarithm(sum)) : kNothing;
  }
  const std::int64_t stride = padded(op.v_dim);
  if (part.tiles == 0) std::fill_n(m.out, kCorner * stride, 0.0f);
  if (part.tiles > 0) {
    multiply_rows(m.rows, m.values, op.v_dim, op, part, {m.out, stride, kCorner, stride});
  }
  for (std::int64_t r = 0; r < part.rows; ++r) {
    store_out(op, unit.query + part.first + r, head, m.out + r * stride, inverse[r]);
  }
}

}  // namespace

std::int64_t amx_attention_scratch(const Attention& op) { return memory_of(op, nullptr).bytes / 4; }

NARROWS_TILED
void amx_attention(const Attention& op, std::int64_t unit, float* scratch) {
  const Memory m = memory_of(op, reinterpret_cast<char*>(scratch));
  const Unit u = unit_of(op, unit);
  const TileConfig config;
  _tile_loadconfig(&config);
  const Source k = source_of(op.k, op.k_narrow, u.key, u.kv_head);
  const Source v = source_of(op.v, op.v_narrow, u.key, u.kv_head);
  pack(k, {0, op.keys, 0, op.qk_dim}, true, m.keys);
  pack(transposed(v), {0, op.v_dim, 0, op.keys}, true, m.values);
  for (std::int64_t head = u.first_head; head < u.first_head + u.heads; ++head) {
    for (std::int64_t first = 0; first < op.queries; first += kCorner) {
      forward_part(op, u, head, part_of(op, first), m);
    }
  }
  _tile_release();
}

#else

std::int64_t amx_attention_scratch(const Attention&) { return 0; }
void amx_attention(const Attention&, std::int64_t, float*) { ASSERT(false); }

#endif

}  // namespace narrows::kernels

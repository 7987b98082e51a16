// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementary.h"
#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

// Queries of a block. Tiles multiply so fast that packing keys counts: there, fewer and larger
// blocks, though more of their scores lie above the diagonal.
constexpr std::int64_t kQueries = 64;
constexpr std::int64_t kNarrowQueries = 128;
std::int64_t queries_of_block(const Attention& op) { return op.narrow ? kNarrowQueries : kQueries; }

// The queries [first, first + rows) of one sequence under one head.
struct Block {
  std::int64_t sequence = 0;
  std::int64_t head = 0;
  std::int64_t kv_head = 0;
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t keys = 0;  // seen by the last of them
};

// The two matrices of a block, and the memory of its matmuls.
struct Scratch {
  float* p = nullptr;
  float* ds = nullptr;
  float* multiply = nullptr;
};
Scratch scratch_of(const Attention& op, float* scratch) {
  float* const p = scratch + op.multiply.scratch;
  return {p, p + attention_rows(op) * op.keys, scratch};
}

template <typename Float>
Float* at(const Heads<Float>& heads, std::int64_t row, std::int64_t head) {
  return heads.data + row * heads.row_stride + head * heads.head_stride;
}

// How many keys stand at `position` or before.
std::int64_t keys_until(const Attention& op, std::int64_t position) {
  if (op.key_positions == nullptr) return position + 1;
  const std::int32_t* const end = op.key_positions + op.keys;
  return std::upper_bound(op.key_positions, end, position) - op.key_positions;
}

Block block_of(const Attention& op, std::int64_t unit, std::int64_t group_head,
               std::int64_t first) {
  Block b;
  b.sequence = unit / op.kv_heads;
  b.kv_head = unit % op.kv_heads;
  b.head = b.kv_head * (op.heads / op.kv_heads) + group_head;
  b.first = first;
  b.rows = std::min(queries_of_block(op), op.queries - first);
  b.keys = keys_until(op, op.positions[first + b.rows - 1]);
  return b;
}

std::int64_t first_seen(const Attention& op, std::int64_t position) {
  if (op.window == 0 || position < op.window) return 0;
  return keys_until(op, position - op.window);
}

// The scores of a block into (rows, keys).
void score(const Attention& op, const Block& b, const Scratch& s, float* scores) {
  op.multiply.run({.transpose_b = true,
                   .m = b.rows,
                   .n = b.keys,
                   .k = op.qk_dim,
                   .a = at(op.q, b.sequence * op.queries + b.first, b.head),
                   .stride_a = op.q.row_stride,
                   .b = at(op.k, b.sequence * op.keys, b.kv_head),
                   .stride_b = op.k.row_stride,
                   .c = scores,
                   .stride_c = op.keys},
                  s.multiply);
}

// One row of scores becomes unnormalised probabilities; returns their sum, and the maximum.
NARROWS_VECTORISED
float soften(float* row, std::int64_t first, std::int64_t last, std::int64_t end, float scale,
             float* maximum) {
  float lane[kLanes];
  for (int j = 0; j < kLanes; ++j) lane[j] = row[first];
  std::int64_t c = first;
  for (; c + kLanes <= last; c += kLanes) {
    for (int j = 0; j < kLanes; ++j) lane[j] = row[c + j] > lane[j] ? row[c + j] : lane[j];
  }
  for (; c < last; ++c) lane[0] = std::max(lane[0], row[c]);
  float most = lane[0];
  for (int j = 1; j < kLanes; ++j) most = std::max(most, lane[j]);
  most *= scale;
  Lanes sums;
  for (c = first; c + kLanes <= last; c += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      row[c + j] = exp_of(row[c + j] * scale - most);
      sums.lane[j] += row[c + j];
    }
  }
  for (; c < last; ++c) {
    row[c] = exp_of(row[c] * scale - most);
    sums.lane[c % kLanes] += row[c];
  }
  for (c = 0; c < first; ++c) row[c] = 0;
  for (c = last; c < end; ++c) row[c] = 0;
  *maximum = most;
  return sums.sum();
}

// Probabilities again, from scores and the log-sum-exp.
NARROWS_VECTORISED
void probabilities(float* row, std::int64_t first, std::int64_t last, std::int64_t end, float scale,
                   float log_sum_exp) {
  for (std::int64_t c = first; c < last; ++c) row[c] = exp_of(row[c] * scale - log_sum_exp);
  for (std::int64_t c = 0; c < first; ++c) row[c] = 0;
  for (std::int64_t c = last; c < end; ++c) row[c] = 0;
}

// dP becomes dS.
NARROWS_VECTORISED
void score_grad(const float* p, float* dp, std::int64_t keys, float delta, float scale) {
  for (std::int64_t c = 0; c < keys; ++c) dp[c] = scale * p[c] * (dp[c] - delta);
}

NARROWS_VECTORISED
void scale_run(float* x, std::int64_t count, float factor, bool to_bf16) {
  for (std::int64_t c = 0; c < count; ++c) x[c] *= factor;
  if (to_bf16) round_run(x, count);
}

// The row's probabilities, not yet divided by their sum; returns its inverse.
float soften_row(const Attention& op, const Block& b, std::int64_t r, float* row) {
  const auto [first, last] = seen_keys(op, b.first + r);
  float& log_sum_exp = op.log_sum_exp[(b.sequence * op.queries + b.first + r) * op.heads + b.head];
  if (first >= last) {
    std::fill_n(row, b.keys, 0.0f);
    log_sum_exp = kNothing;
    return 0;
  }
  float most = 0;
  const float sum = soften(row, first, last, b.keys, attention_scale(op), &most);
  log_sum_exp = static_cast<float>(static_cast<double>(most) + natural_logarithm(sum));
  return 1.0f / sum;
}

// Nothing is seen by any of the block's queries.
void clear_block(const Attention& op, const Block& b, const Heads<float>& rows,
                 std::int64_t columns) {
  for (std::int64_t r = 0; r < b.rows; ++r) {
    std::fill_n(at(rows, b.sequence * op.queries + b.first + r, b.head), columns, 0.0f);
  }
}

void forward_block(const Attention& op, const Block& b, const Scratch& s) {
  float* const scores = s.p;
  if (b.keys > 0) score(op, b, s, scores);
  float inverse[kNarrowQueries];
  for (std::int64_t r = 0; r < b.rows; ++r) {
    inverse[r] = soften_row(op, b, r, scores + r * op.keys);
  }
  if (b.keys == 0) return clear_block(op, b, op.out, op.v_dim);
  float* out = at(op.out, b.sequence * op.queries + b.first, b.head);
  op.multiply.run({.m = b.rows,
                   .n = op.v_dim,
                   .k = b.keys,
                   .a = scores,
                   .stride_a = op.keys,
                   .b = at(op.v, b.sequence * op.keys, b.kv_head),
                   .stride_b = op.v.row_stride,
                   .c = out,
                   .stride_c = op.out.row_stride},
                  s.multiply);
  for (std::int64_t r = 0; r < b.rows; ++r) {
    scale_run(out + r * op.out.row_stride, op.v_dim, inverse[r], op.narrow);
  }
}

// P and dS of a block, (rows, keys) each.
void block_grads(const AttentionGrad& op, const Block& b, const Scratch& s) {
  const Attention& f = op.forward;
  float* const p = s.p;
  float* const ds = s.ds;
  const std::int64_t token = b.sequence * f.queries + b.first;
  score(f, b, s, p);
  f.multiply.run({.transpose_b = true,
                  .m = b.rows,
                  .n = b.keys,
                  .k = f.v_dim,
                  .a = at(op.dout, token, b.head),
                  .stride_a = op.dout.row_stride,
                  .b = at(f.v, b.sequence * f.keys, b.kv_head),
                  .stride_b = f.v.row_stride,
                  .c = ds,
                  .stride_c = f.keys},
                 s.multiply);
  const float scale = attention_scale(f);
  for (std::int64_t r = 0; r < b.rows; ++r) {
    const SeenKeys seen = seen_keys(f, b.first + r);
    probabilities(p + r * f.keys, seen.first, seen.last, b.keys, scale,
                  f.log_sum_exp[(token + r) * f.heads + b.head]);
    const float delta =
        dot_of(at(op.dout, token + r, b.head), at(f.out, token + r, b.head), f.v_dim);
    score_grad(p + r * f.keys, ds + r * f.keys, b.keys, delta, scale);
  }
}

void backward_block(const AttentionGrad& op, const Block& b, const Scratch& s) {
  const Attention& f = op.forward;
  const float* const p = s.p;
  const float* const ds = s.ds;
  const std::int64_t token = b.sequence * f.queries + b.first;
  const std::int64_t key = b.sequence * f.keys;
  if (b.keys == 0) return clear_block(f, b, op.dq, f.qk_dim);
  block_grads(op, b, s);
  f.multiply.run({.m = b.rows,
                  .n = f.qk_dim,
                  .k = b.keys,
                  .a = ds,
                  .stride_a = f.keys,
                  .b = at(f.k, key, b.kv_head),
                  .stride_b = f.k.row_stride,
                  .c = at(op.dq, token, b.head),
                  .stride_c = op.dq.row_stride},
                 s.multiply);
  // (keys, columns) += matrixᵀ (rows, keys) · (rows, columns).
  const auto add_to_keys = [&](const float* matrix, const Heads<const float>& from,
                               const Heads<float>& into, std::int64_t columns) {
    f.multiply.run({.transpose_a = true,
                    .m = b.keys,
                    .n = columns,
                    .k = b.rows,
                    .a = matrix,
                    .stride_a = f.keys,
                    .b = at(from, token, b.head),
                    .stride_b = from.row_stride,
                    .beta = 1,
                    .c = at(into, key, b.kv_head),
                    .stride_c = into.row_stride},
                   s.multiply);
  };
  add_to_keys(ds, f.q, op.dk, f.qk_dim);
  add_to_keys(p, op.dout, op.dv, f.v_dim);
}

void clear(const Heads<float>& heads, std::int64_t first_row, std::int64_t rows, std::int64_t head,
           std::int64_t columns) {
  for (std::int64_t r = first_row; r < first_row + rows; ++r) {
    std::fill_n(at(heads, r, head), columns, 0.0f);
  }
}

}  // namespace

SeenKeys seen_keys(const Attention& op, std::int64_t query) {
  const std::int64_t position = op.positions[query];
  return {first_seen(op, position), keys_until(op, position)};
}

float attention_scale(const Attention& op) {
  return static_cast<float>(op.sharpness / std::sqrt(static_cast<double>(op.qk_dim)));
}

std::int64_t attention_units(const Attention& op) { return op.batch * op.kv_heads; }

std::int64_t attention_rows(const Attention& op) {
  return std::min(queries_of_block(op), op.queries);
}

std::int64_t attention_scratch(const Attention& op) {
  return op.multiply.scratch + 2 * attention_rows(op) * op.keys;
}

void attention(const Attention& op, std::int64_t unit, float* scratch) {
  for (std::int64_t h = 0; h < op.heads / op.kv_heads; ++h) {
    for (std::int64_t first = 0; first < op.queries; first += queries_of_block(op)) {
      forward_block(op, block_of(op, unit, h, first), scratch_of(op, scratch));
    }
  }
}

void attention_grad(const AttentionGrad& op, std::int64_t unit, float* scratch) {
  const Attention& f = op.forward;
  const Block whole = block_of(f, unit, 0, 0);
  clear(op.dk, whole.sequence * f.keys, f.keys, whole.kv_head, f.qk_dim);
  clear(op.dv, whole.sequence * f.keys, f.keys, whole.kv_head, f.v_dim);
  for (std::int64_t h = 0; h < f.heads / f.kv_heads; ++h) {
    for (std::int64_t first = 0; first < f.queries; first += queries_of_block(f)) {
      backward_block(op, block_of(f, unit, h, first), scratch_of(f, scratch));
    }
  }
}

}  // namespace narrows::kernels

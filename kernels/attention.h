// Causal attention without the matrix of scores (dao2022's idea with whole rows): for a block of
// queries, scores against all keys they may see, softmax, times values. Only the block's rows exist
// at a time, and of them the log-sum-exp is kept; backward makes the probabilities again:
//
//   P = exp(c Q K^T - lse), D = rowsum(dO O), dS = c P (dO V^T - D), dQ = dS K, dK = dS^T Q, dV =
//   P^T dO
//
// Keys stand in the order of their positions, from 0 or as `key_positions` says; query i of a
// sequence has position `positions[i]`, ascending, and sees the keys up to it. One that sees none
// gets zeros and a log-sum-exp of kNothing. The small matmuls are the backend's.
//
// Attention over parts of the keys is merged by their log-sum-exps (dao2022 §3.1); backward over a
// part is the same formula with those of the whole.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/matmul.h"

namespace narrows::kernels {

// Heads side by side in rows of tokens, the sequences of a batch one after the other.
template <typename Float>
struct Heads {
  Float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
};

struct Attention {
  Heads<const float> q, k, v;
  Heads<float> out;
  float* log_sum_exp = nullptr;  // (batch queries, heads)
  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  // divides heads: a group of heads shares keys and values
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::int64_t qk_dim = 0;
  std::int64_t v_dim = 0;
  std::int64_t window = 0;  // 0: all keys up to the query's position; else the last so many
  double sharpness = 1;     // times 1 / sqrt(qk_dim): what scores are multiplied by
  const std::int32_t* positions = nullptr;
  const std::int32_t* key_positions = nullptr;  // (keys), ascending; null: 0, 1, …
  bool narrow = false;  // operands of its matmuls are rounded to bf16, and so is `out`
  SmallMatmul multiply;
  // In bf16, instead of q, k, v and out: all four or none. Only kernels/amx_attention.h reads them.
  Heads<const std::uint16_t> q_narrow, k_narrow, v_narrow;
  Heads<std::uint16_t> out_narrow;
};

struct AttentionGrad {
  Attention forward;  // out and log_sum_exp hold what forward left
  Heads<const float> dout;
  Heads<float> dq, dk, dv;  // written
};

inline constexpr float kNothing = -1e30f;

// The keys [first, last) that a query sees; none where first >= last.
struct SeenKeys {
  std::int64_t first = 0;
  std::int64_t last = 0;
};
SeenKeys seen_keys(const Attention& op, std::int64_t query);
// What scores are multiplied by.
float attention_scale(const Attention& op);

// out and log_sum_exp become those of both parts of the keys.
struct AttentionMerge {
  Heads<float> out;
  float* log_sum_exp = nullptr;  // (rows, heads)
  Heads<const float> other;
  const float* other_log_sum_exp = nullptr;
  std::int64_t rows = 0;
  std::int64_t heads = 0;
  std::int64_t v_dim = 0;
  bool to_bf16 = false;  // out is rounded to bf16
};
void merge(const AttentionMerge& op, std::int64_t first_row, std::int64_t last_row);

// The work falls into `units` that may run at once; each needs `scratch` floats of its own, at a
// multiple of 64 bytes.
std::int64_t attention_units(const Attention& op);  // one a sequence and group of heads
std::int64_t attention_rows(const Attention& op);   // of queries in a block
std::int64_t attention_scratch(const Attention& op);
void attention(const Attention& op, std::int64_t unit, float* scratch);
void attention_grad(const AttentionGrad& op, std::int64_t unit, float* scratch);

}  // namespace narrows::kernels

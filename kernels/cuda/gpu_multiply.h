// Matmuls and attention on a GPU, as they cross the border of gpu.so. Part of gpu.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/cuda/gpu_verb.h"

namespace narrows::gpu {

// c = op(a) op(b) + beta c, row-major: kernels/matmul.h. f32 is multiplied in f32, not in TF32.
struct Matmul {
  static constexpr Verb kVerb = Verb::Matmul;
  Type type = Type::Bf16;  // of a and b
  Type out = Type::Bf16;   // of c
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  std::int64_t stride_a = 0;
  const void* b = nullptr;
  std::int64_t stride_b = 0;
  float beta = 0;
  void* c = nullptr;
  std::int64_t stride_c = 0;
};

// c(m, n) = a(m, k) b(n, k)^T in E4M3 with scales (deepseek2024 §3.3): a's a number each 1x128 of
// k, b's a number each 128x128 or, for weight gradients, each 1x128 too. Scales of 1x128 lie
// (k / 128, rows), of 128x128 (n / 128 rounded up, k / 128 rounded up to a multiple of 4): see
// Quantise. k and n are multiples of 16. By cuBLASLt on Hopper if m is a multiple of 4, else by our
// own kernel.
struct ScaledMatmul {
  static constexpr Verb kVerb = Verb::ScaledMatmul;
  Type out = Type::Bf16;
  bool b_blocks = true;  // 128x128
  std::int64_t m = 0, n = 0, k = 0;
  const std::uint8_t* a = nullptr;
  const float* scale_a = nullptr;
  const std::uint8_t* b = nullptr;
  const float* scale_b = nullptr;
  float beta = 0;
  void* c = nullptr;
};

// The three matmuls of experts, in one launch. `begin` is host memory, groups + 1, and read before
// `run` returns: group e has the rows [begin[e], begin[e + 1]) of x and y, maybe none.
//   Forward      y = x w_e^T        x (rows, k), w (groups, n, k), y (rows, n)
//   InputGrad    x = y w_e
//   WeightGrad   w_e = y^T x + beta w_e
// In f32, and where n or k is no multiple of 8 or an address none of 16, as one matmul of cuBLASLt
// a group.
enum class Pass : std::int32_t { Forward, InputGrad, WeightGrad };
struct GroupedMatmul {
  static constexpr Verb kVerb = Verb::GroupedMatmul;
  Pass pass = Pass::Forward;
  Type type = Type::Bf16;  // of what is read
  Type out = Type::Bf16;   // of what is written
  std::int64_t groups = 0, n = 0, k = 0;
  const std::int64_t* begin = nullptr;
  void* x = nullptr;
  void* w = nullptr;
  void* y = nullptr;
  float beta = 0;
};

// The same of experts, in one launch; `begin` as GroupedMatmul's.
//   groups of rows   c (rows, n) = a (rows, k) b_e (n, k)^T + beta c, b (groups, n, k): Forward,
//   and
//                    InputGrad with b transposed; m is begin[groups]
//   groups of sums   c_e (m, n) = a (m, sum) b (n, sum)^T + beta c_e, c (groups, m, n): WeightGrad;
//                    k is begin[groups], and every group begins at a multiple of 128, so that no
//                    scale is of two groups: pad with rows of zeros
// Scales of b's 128x128 lie group by group. k and n are multiples of 16.
struct GroupedScaledMatmul {
  static constexpr Verb kVerb = Verb::GroupedScaledMatmul;
  Type out = Type::Bf16;
  bool groups_sum = false;
  bool b_blocks = true;  // 128x128
  std::int64_t groups = 0, m = 0, n = 0, k = 0;
  const std::int64_t* begin = nullptr;
  const std::uint8_t* a = nullptr;
  const float* scale_a = nullptr;
  const std::uint8_t* b = nullptr;
  const float* scale_b = nullptr;
  float beta = 0;
  void* c = nullptr;
};

// Heads side by side in rows of tokens; strides in elements, multiples of 8.
struct Heads {
  void* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
};

// kernels/attention.h in bf16, of head dims (64, 64), (128, 128) and MLA's (192, 128). `positions`
// (queries), ascending; null: query i stands at keys - queries + i.
struct Attention {
  static constexpr Verb kVerb = Verb::Attention;
  Heads q, k, v, out;
  float* log_sum_exp = nullptr;  // (batch queries, heads), written
  std::int64_t batch = 0, heads = 0, kv_heads = 0;
  std::int64_t queries = 0, keys = 0;
  std::int64_t qk_dim = 0, v_dim = 0;
  std::int64_t window = 0;  // 0: none
  const std::int32_t* positions = nullptr;
};

struct AttentionGrad {
  static constexpr Verb kVerb = Verb::AttentionGrad;
  Attention forward;  // out and log_sum_exp as forward left them
  Heads dout;
  Heads dq, dk, dv;           // written
  float* dq_sums = nullptr;   // scratch, (batch queries, heads, qk_dim)
  float* out_dots = nullptr;  // scratch, (batch queries, heads)
};

}  // namespace narrows::gpu

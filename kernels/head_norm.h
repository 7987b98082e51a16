// RMSNorm of each head of queries and keys (dehghani2023, Qwen3): heads lie side by side in rows,
// the queries' first, then the keys'; each of the two has one weight for all its heads. Where all
// heads are normalised together (OLMoE), they are one wide head here. What stands behind them in a
// row, the values, passes through. Formulas as in norm.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct HeadNorm {
  const float* x = nullptr;       // (rows, stride)
  const float* weight = nullptr;  // of queries (dim), then of keys (key_width)
  float* y = nullptr;
  std::int64_t rows = 0;
  std::int64_t heads = 0;  // of queries
  std::int64_t key_heads = 0;
  std::int64_t dim = 0;
  std::int64_t stride = 0;
  float epsilon = 1e-6f;
  bool to_bf16 = false;      // y is rounded to bf16
  std::int64_t key_dim = 0;  // at most dim; 0 = as wide as dim
};
inline std::int64_t key_width(const HeadNorm& op) { return op.key_dim > 0 ? op.key_dim : op.dim; }
void head_norm(const HeadNorm& op, std::int64_t first_row, std::int64_t last_row);

struct HeadNormGrad {
  HeadNorm forward;              // y is not used
  const float* dy = nullptr;     // (rows, stride)
  float* dx = nullptr;           // (rows, stride), written
  float* inverse_rms = nullptr;  // (rows, heads + key_heads), scratch
  float* dweight = nullptr;      // as the weight, accumulated
};
// dx and inverse_rms of the rows.
void head_norm_grad(const HeadNormGrad& op, std::int64_t first_row, std::int64_t last_row);
// Columns [first, last) of both runs of dweight, from inverse_rms of all rows.
void head_norm_weight_grad(const HeadNormGrad& op, std::int64_t first_column,
                           std::int64_t last_column);

}  // namespace narrows::kernels

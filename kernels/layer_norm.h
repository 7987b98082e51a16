// LayerNorm (ba2016) over rows of `columns` floats.
//
//   y = w n + b,  n = (x - mean(x)) r,  r = 1 / sqrt(var(x) + eps)
//   dx = r (w dy - mean(w dy) - n mean(w dy n)),  dw += sum over rows of dy n,  db += that of dy
//
// Bound by memory, as RMSNorm is (norm.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct LayerNorm {
  const float* x = nullptr;  // (rows, columns)
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* y = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  float epsilon = 1e-5f;
  bool to_bf16 = false;  // y is rounded to bf16
};
void layer_norm(const LayerNorm& op, std::int64_t first_row, std::int64_t last_row);

struct LayerNormGrad {
  LayerNorm forward;           // y is not used
  const float* dy = nullptr;   // (rows, columns)
  const float* add = nullptr;  // added to dx where not null: the gradient that goes round the norm
  float* dx = nullptr;
  float* statistics = nullptr;  // (rows, 2), scratch: mean and inverse deviation
  float* dweight = nullptr;     // accumulated
  float* dbias = nullptr;       // accumulated
};
// dx and statistics of the rows.
void layer_norm_grad(const LayerNormGrad& op, std::int64_t first_row, std::int64_t last_row);
// dweight and dbias of the columns, from the statistics of all rows.
void layer_norm_weight_grad(const LayerNormGrad& op, std::int64_t first_column,
                            std::int64_t last_column);

}  // namespace narrows::kernels

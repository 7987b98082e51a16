// RMSNorm (zhang2019) over the first `columns` of rows of `stride` floats; what stands behind them
// in a row (the rotated key beside MLA's latent) passes through.
//
//   y = w x r,  r = 1 / sqrt(mean(x^2) + eps)
//   dx = r (w dy - x r^2 mean(w dy x)),  dw += sum over rows of dy x r
//
// Bound by memory: forward reads x and writes y; backward reads x and dy twice and writes dx.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct Norm {
  const float* x = nullptr;  // (rows, stride)
  const float* weight = nullptr;
  float* y = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
  float epsilon = 1e-6f;
  bool to_bf16 = false;  // y is rounded to bf16
  // In bf16, instead of x and of y.
  const std::uint16_t* x_narrow = nullptr;
  std::uint16_t* y_narrow = nullptr;
};
void norm(const Norm& op, std::int64_t first_row, std::int64_t last_row);

struct NormGrad {
  Norm forward;                // y is not used
  const float* dy = nullptr;   // (rows, stride)
  const float* add = nullptr;  // added to dx where not null: the gradient that goes round the norm
  float* dx = nullptr;
  float* inverse_rms = nullptr;  // (rows), scratch
  float* dweight = nullptr;      // accumulated
};
// dx and inverse_rms of the rows.
void norm_grad(const NormGrad& op, std::int64_t first_row, std::int64_t last_row);
// dweight of the columns, from inverse_rms of all rows.
void norm_weight_grad(const NormGrad& op, std::int64_t first_column, std::int64_t last_column);

}  // namespace narrows::kernels

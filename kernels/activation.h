// SwiGLU (shazeer2020): x holds gate and up side by side, y = s silu(gate) up, where s is a row's
// routing weight (1 without). Scaling here instead of behind the down projection is the same sum,
// and the gradient of s needs nothing but x.
//
// Bound by memory: forward reads 2f and writes f floats a row, backward reads 3f and writes 2f.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct SwiGlu {
  const float* x = nullptr;      // (rows, 2 columns)
  const float* scale = nullptr;  // (rows), or null
  float* y = nullptr;            // (rows, columns)
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool to_bf16 = false;  // y is rounded to bf16
  // In bf16, instead of x and y: where there is y_narrow, there is x_narrow.
  const std::uint16_t* x_narrow = nullptr;
  std::uint16_t* y_narrow = nullptr;
};
void swiglu(const SwiGlu& op, std::int64_t first_row, std::int64_t last_row);

struct SwiGluGrad {
  SwiGlu forward;                      // y is not used
  const float* dy = nullptr;           // (rows, columns)
  float* dx = nullptr;                 // (rows, 2 columns)
  float* dscale = nullptr;             // (rows), null where forward.scale is
  std::uint16_t* dx_narrow = nullptr;  // instead of dx, where forward.x_narrow is
};
void swiglu_grad(const SwiGluGrad& op, std::int64_t first_row, std::int64_t last_row);

}  // namespace narrows::kernels

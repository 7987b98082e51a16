// GELU (hendrycks2016) by its tanh form, as GPT-2 and GPT-3 have it:
//
//   y = x s(2 u),  u = sqrt(2 / pi) (x + 0.044715 x^3),  s the logistic function:
//   1/2 (1 + tanh u) = s(2 u)
//
// Bound by memory: forward reads and writes f floats a row, backward reads 2f and writes f.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct Gelu {
  const float* x = nullptr;
  float* y = nullptr;
  std::int64_t count = 0;
  bool to_bf16 = false;  // y is rounded to bf16
};
void gelu(const Gelu& op, std::int64_t first, std::int64_t last);

struct GeluGrad {
  Gelu forward;               // y is not used
  const float* dy = nullptr;  // may be dx
  float* dx = nullptr;
};
void gelu_grad(const GeluGrad& op, std::int64_t first, std::int64_t last);

}  // namespace narrows::kernels

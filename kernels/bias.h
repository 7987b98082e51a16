// A bias of a linear layer, and the gate of a shared expert: a number a row.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

// y += bias in every row; backward dbias += sum over rows of dy.
struct AddBias {
  float* y = nullptr;  // (rows, columns)
  const float* bias = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool to_bf16 = false;  // y is rounded to bf16
};
void add_bias(const AddBias& op, std::int64_t first_row, std::int64_t last_row);

struct BiasGrad {
  const float* dy = nullptr;  // (rows, columns)
  float* dbias = nullptr;     // accumulated
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};
void bias_grad(const BiasGrad& op, std::int64_t first_column, std::int64_t last_column);

// y = a + s(gate) x of each row, s the logistic function (Qwen2-MoE's shared expert);
// dx = s dy, dgate = scale s (1 - s) dy . x; that of a is dy.
struct GatedSum {
  const float* a = nullptr;  // (rows, columns)
  const float* x = nullptr;
  const float* gate = nullptr;  // (rows)
  float* y = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool to_bf16 = false;  // y is rounded to bf16
};
void gated_sum(const GatedSum& op, std::int64_t first_row, std::int64_t last_row);

struct GatedSumGrad {
  GatedSum forward;  // a and y are not used
  const float* dy = nullptr;
  float* dx = nullptr;     // written
  float* dgate = nullptr;  // (rows), written
  float scale = 1;         // of dgate
};
void gated_sum_grad(const GatedSumGrad& op, std::int64_t first_row, std::int64_t last_row);

}  // namespace narrows::kernels

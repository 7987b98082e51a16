// AdamW (loshchilov2017) as torch.optim.AdamW computes it, over a range of parameters:
//   w -= lr decay w;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2
//   w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
// One pass over memory: four reads and three writes of 4 bytes a parameter. Moments may be kept in
// bf16 (deepseek2024 §3.3.3): they are widened, updated, used, and rounded to the nearest.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct AdamW {
  float* weight = nullptr;
  const float* gradient = nullptr;
  float* first_moment = nullptr;
  float* second_moment = nullptr;
  std::int64_t count = 0;
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double decay = 0;
  double gradient_scale = 1;              // of clipping
  std::int64_t step = 1;                  // from 1
  std::uint16_t* first_narrow = nullptr;  // moments in bf16, where there are none in floats
  std::uint16_t* second_narrow = nullptr;
};
void adamw(const AdamW& op, std::int64_t first, std::int64_t last);

}  // namespace narrows::kernels

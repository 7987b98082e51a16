// The ends of a training step on a GPU: loss, optimiser, quantisation. Part of gpu.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/cuda/gpu_verb.h"

namespace narrows::gpu {

// kernels/loss.h. `parts` are (rows) of maximum, sum, target's logit.
struct PartialSoftmax {
  static constexpr Verb kVerb = Verb::PartialSoftmax;
  Type type = Type::Bf16;
  const void* logits = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0, first = 0;
  const std::int32_t* targets = nullptr;
  float* parts = nullptr;
};
// The logits become their gradient.
struct LossGrad {
  static constexpr Verb kVerb = Verb::LossGrad;
  Type type = Type::Bf16;
  void* logits = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0, first = 0;
  const std::int32_t* targets = nullptr;
  const float* parts = nullptr;
  float scale = 1;
};

// kernels/adamw.h; `copy`, where not null, receives the new weights in bf16. State may be bf16.
struct AdamW {
  static constexpr Verb kVerb = Verb::AdamW;
  float* weight = nullptr;
  const float* gradient = nullptr;
  Type state = Type::F32;
  void* first_moment = nullptr;
  void* second_moment = nullptr;
  std::uint16_t* copy = nullptr;
  std::int64_t count = 0;
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, decay = 0;
  double gradient_scale = 1;
  std::int64_t step = 1;
};
// *sum = the sum of squares; `partial` is scratch: kSumParts doubles.
inline constexpr int kSumParts = 1024;
struct SumOfSquares {
  static constexpr Verb kVerb = Verb::SumOfSquares;
  Type type = Type::F32;
  const void* x = nullptr;
  std::int64_t count = 0;
  double* partial = nullptr;
  double* sum = nullptr;
};

// x (rows, columns) in E4M3 with a scale each 1x128 of a row, each 128x1 of a column, or each
// 128x128: values / scale is stored, scale = maximum / 448, 1 where all are 0.
//   Rows     to (rows, columns), scales (columns / 128 rounded up, rows)
//   Columns  to (columns, rows), transposed, scales (rows / 128 rounded up, columns)
//   Blocks   to (rows, columns), scales (rows / 128 rounded up, columns / 128 rounded up to 4)
//   BlocksTransposed  to (columns, rows), scales as Blocks of the transposed
// Scales that stand for nothing are written as 1.
enum class Tiles : std::int32_t { Rows, Columns, Blocks, BlocksTransposed };
struct Quantise {
  static constexpr Verb kVerb = Verb::Quantise;
  Type type = Type::Bf16;
  Tiles tiles = Tiles::Rows;
  const void* x = nullptr;
  std::int64_t rows = 0, columns = 0;
  std::uint8_t* to = nullptr;
  float* scales = nullptr;
};
constexpr std::int64_t tiles_of(std::int64_t extent) { return (extent + 127) / 128; }
constexpr std::int64_t block_scale_stride(std::int64_t columns) {
  return (tiles_of(columns) + 3) / 4 * 4;
}

}  // namespace narrows::gpu

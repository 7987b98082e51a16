// What an op on a GPU is called, how its numbers lie, and what becomes of it. Part of gpu.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::gpu {

enum class Code : std::int32_t { Ok, Unsupported, Invalid, Device };

// How numbers lie in memory.
enum class Type : std::int32_t { F32, Bf16 };

enum class Verb : std::int32_t {
  Matmul,
  ScaledMatmul,
  GroupedMatmul,
  GroupedScaledMatmul,
  Attention,
  AttentionGrad,
  Norm,
  NormGrad,
  SwiGlu,
  SwiGluGrad,
  Rotation,
  KeyAssembly,
  KeyAssemblyGrad,
  Router,
  RouterGrad,
  PickRows,
  SumRows,
  ScatterRows,
  Add,
  Cast,
  PartialSoftmax,
  LossGrad,
  AdamW,
  SumOfSquares,
  Quantise,
  Copy,
  Collective
};

}  // namespace narrows::gpu

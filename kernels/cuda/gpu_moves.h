// What reads and writes rows of activations on a GPU. Part of gpu.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/cuda/gpu_verb.h"

namespace narrows::gpu {

// kernels/norm.h; the weight is f32.
struct Norm {
  static constexpr Verb kVerb = Verb::Norm;
  Type type = Type::Bf16;
  const void* x = nullptr;
  const float* weight = nullptr;
  void* y = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0;
  float epsilon = 1e-6f;
};
// `partial` is scratch: (norm_parts(rows), columns).
struct NormGrad {
  static constexpr Verb kVerb = Verb::NormGrad;
  Norm forward;
  const void* dy = nullptr;
  const void* add = nullptr;
  void* dx = nullptr;
  float* inverse_rms = nullptr;
  float* partial = nullptr;
  float* dweight = nullptr;  // accumulated
};
constexpr std::int64_t norm_parts(std::int64_t rows) { return (rows + 127) / 128; }

// kernels/activation.h; the row's weight and its gradient are f32.
struct SwiGlu {
  static constexpr Verb kVerb = Verb::SwiGlu;
  Type type = Type::Bf16;
  const void* x = nullptr;
  const float* scale = nullptr;
  void* y = nullptr;
  std::int64_t rows = 0, columns = 0;
};
struct SwiGluGrad {
  static constexpr Verb kVerb = Verb::SwiGluGrad;
  SwiGlu forward;
  const void* dy = nullptr;
  void* dx = nullptr;
  float* dscale = nullptr;
};

// kernels/rope.h; cosine and sine are (positions, dim / 2) in f32.
struct Table {
  const float* cosine = nullptr;
  const float* sine = nullptr;
  std::int64_t dim = 0;
};
struct Rotation {
  static constexpr Verb kVerb = Verb::Rotation;
  Type type = Type::Bf16;
  void* x = nullptr;
  std::int64_t rows = 0, stride = 0, heads = 1, head_stride = 0;
  const std::int32_t* positions = nullptr;
  Table table;
  bool back = false;
};
struct KeyAssembly {
  static constexpr Verb kVerb = Verb::KeyAssembly;
  Type type = Type::Bf16;
  const void* kv = nullptr;
  const void* shared = nullptr;
  std::int64_t shared_stride = 0;
  void* key = nullptr;
  std::int64_t rows = 0, heads = 0, nope = 0, value = 0;
  const std::int32_t* positions = nullptr;
  Table table;
};
struct KeyAssemblyGrad {
  static constexpr Verb kVerb = Verb::KeyAssemblyGrad;
  KeyAssembly forward;
  const void* dkey = nullptr;
  void* dkv = nullptr;
  void* dshared = nullptr;
};

// kernels/router.h, in f32; at most 1024 experts, 64 groups and top_k 32. Equal scores: the lower
// expert.
struct Router {
  static constexpr Verb kVerb = Verb::Router;
  const float* logits = nullptr;
  const float* bias = nullptr;
  float* chosen = nullptr;
  std::int64_t rows = 0, experts = 0, top_k = 0, groups = 1, top_groups = 1;
  bool sigmoid = false;
  bool normalise = true;
  float scale = 1;
};
struct RouterGrad {
  static constexpr Verb kVerb = Verb::RouterGrad;
  Router forward;
  const float* dweights = nullptr;
  float* dlogits = nullptr;
};

// kernels/rows.h: how tokens are packed for dispatch, and summed up again behind combine.
struct PickRows {
  static constexpr Verb kVerb = Verb::PickRows;
  Type type = Type::Bf16;
  const void* from = nullptr;
  const std::int32_t* index = nullptr;
  void* to = nullptr;
  std::int64_t rows = 0, columns = 0;
  float scale = 1;
};
struct SumRows {
  static constexpr Verb kVerb = Verb::SumRows;
  Type type = Type::Bf16;
  const void* from = nullptr;
  const std::int32_t* begin = nullptr;
  const std::int32_t* slots = nullptr;
  void* to = nullptr;
  std::int64_t rows = 0, columns = 0;
  bool accumulate = false;
};
// Into f32, by atomic sums: their order, and so the last bits, differ from run to run.
struct ScatterRows {
  static constexpr Verb kVerb = Verb::ScatterRows;
  Type type = Type::Bf16;  // of `from`
  const void* from = nullptr;
  const std::int32_t* index = nullptr;
  float* to = nullptr;
  std::int64_t rows = 0, columns = 0;
};
struct Add {
  static constexpr Verb kVerb = Verb::Add;
  Type type = Type::Bf16;
  const void* a = nullptr;
  const void* b = nullptr;
  void* to = nullptr;
  std::int64_t count = 0;
};
struct Cast {
  static constexpr Verb kVerb = Verb::Cast;
  Type type = Type::F32;  // of `from`
  Type out = Type::Bf16;  // of `to`
  const void* from = nullptr;
  void* to = nullptr;
  std::int64_t count = 0;
};

}  // namespace narrows::gpu

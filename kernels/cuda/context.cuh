// What a verb knows of where it runs, and how it says what went wrong.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gpu.h"

namespace narrows::gpu {

struct Libraries;  // cuBLASLt, NCCL and CUPTI as this context has opened them (libraries.cuh)

// For scales of a group that must lie close together.
inline constexpr std::int64_t kScratchBytes = 8 << 20;

struct Context {
  void* stream = nullptr;
  int device = 0;
  int multiprocessors = 1;
  int architecture = 80;      // 10 major + minor
  void* workspace = nullptr;  // of libraries
  std::int64_t workspace_bytes = 0;
  float* scratch = nullptr;        // our own, kScratchBytes
  Libraries* libraries = nullptr;  // owned; made and freed by open and close
  char problem[512] = "";
};

template <typename... Values>
Code refuse(Context& context, Code code, const char* format, const Values&... values) {
  if constexpr (sizeof...(Values) == 0) {
    std::snprintf(context.problem, sizeof context.problem, "%s", format);
  } else {
    std::snprintf(context.problem, sizeof context.problem, format, values...);
  }
  return code;
}

// Starts a kernel; no blocks is nothing to do.
template <typename... Parameters, typename... Arguments>
Code start(Context& context, const char* name, void (*kernel)(Parameters...), const Launch& how,
           const Arguments&... arguments) {
  if (how.x == 0 || how.y == 0 || how.z == 0) return Code::Ok;
  const char* problem = launch(kernel, how, context.stream, arguments...);
  return problem[0] == '\0' ? Code::Ok : refuse(context, Code::Device, "%s: %s", name, problem);
}

// One overload a verb, each beside its kernels.
Code run(Context& context, const Matmul& op);
Code run(Context& context, const ScaledMatmul& op);
Code run(Context& context, const GroupedMatmul& op);
Code run(Context& context, const GroupedScaledMatmul& op);
Code run(Context& context, const Attention& op);
Code run(Context& context, const AttentionGrad& op);
Code run(Context& context, const Norm& op);
Code run(Context& context, const NormGrad& op);
Code run(Context& context, const SwiGlu& op);
Code run(Context& context, const SwiGluGrad& op);
Code run(Context& context, const Rotation& op);
Code run(Context& context, const KeyAssembly& op);
Code run(Context& context, const KeyAssemblyGrad& op);
Code run(Context& context, const Router& op);
Code run(Context& context, const RouterGrad& op);
Code run(Context& context, const PickRows& op);
Code run(Context& context, const SumRows& op);
Code run(Context& context, const ScatterRows& op);
Code run(Context& context, const Add& op);
Code run(Context& context, const Cast& op);
Code run(Context& context, const PartialSoftmax& op);
Code run(Context& context, const LossGrad& op);
Code run(Context& context, const AdamW& op);
Code run(Context& context, const SumOfSquares& op);
Code run(Context& context, const Quantise& op);
Code run(Context& context, const Copy& op);
Code run(Context& context, const Collective& op);

// By cuBLASLt, on Hopper (matmul.cu). Rows of a and b begin `pitch` bytes apart.
Code scaled_by_library(Context& context, const ScaledMatmul& op, std::int64_t pitch);

// The verb's overload for the struct that `op` points to; Invalid if its size is another.
Code run_verb(Context& context, Verb verb, const void* op, std::size_t op_bytes);
Code random_numbers(Context& context, void* to, Type type, std::int64_t count, std::uint64_t seed);

}  // namespace narrows::gpu

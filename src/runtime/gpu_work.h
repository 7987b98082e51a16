// One op of a model on a GPU, by itself and under the clock: memory of its shape filled with random
// numbers, the call that a training step would make, and what the roofline says of it. Before each
// sample the device's cache is emptied, as a step empties it between two uses of the same tensor.
//
// Matmuls in bf16, f32 and E4M3 with scales by block, dense or grouped, in three directions;
// attention forward and backward (bf16); the memory-bound ops in bf16, the router in f32.
// WeightGrad of a norm and the second half of attention's backward belong to InputGrad, which is
// the whole backward pass.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/units.h"
#include "model/op.h"
#include "model/recipe.h"
#include "runtime/gpu_module.h"

namespace narrows {

// `rows` and `columns` of ops that move memory: a norm's tokens and width, SwiGLU's outputs, a
// router's tokens and experts, a loss's tokens and vocabulary, an embedding's tokens and width, an
// optimizer's parameters (columns 1).
struct GpuWork {
  OpKind kind = OpKind::Matmul;
  Direction direction = Direction::Forward;
  Recipe recipe = Recipe::Bf16;
  MatmulShape matmul;        // m exact: rows of all groups together, in every direction
  AttentionShape attention;  // causal
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// What no kernel can do without.
struct GpuFloor {
  double flops = 0;  // multiply and add; causal attention counts half
  double bytes = 0;  // read and written
};
GpuFloor floor_of(const GpuWork& work);

struct GpuTimes {
  std::vector<gpu::Sample> samples;
  GpuFloor floor;
};
// From the first kernel's start to the last one's end, where CUPTI saw them; else between the
// events.
Seconds kernel_time(const gpu::Sample& sample);

struct GpuRules {
  int warm = 2;
  int samples = 20;
  bool kernels = true;  // CUPTI beside the events
};

// Unsupported where neither cuBLASLt nor a kernel of ours does the work.
Result<GpuTimes> time_on_gpu(Gpu& gpu, const GpuWork& work, const GpuRules& rules);

}  // namespace narrows

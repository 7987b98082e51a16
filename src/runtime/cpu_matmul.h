// One thread's matmul on the CPU: oneDNN's, or the plain one of kernels/. Internal to the CPU
// backend.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/matmul.h"

namespace narrows {

// oneDNN shall not start threads of its own in calls of this thread.
void be_single_threaded();

void multiply_f32(const kernels::Matmul& op);

// The same of bf16 operands; sums and result are f32. (`a` and `b` of `shape` are not used.)
struct Bf16Matmul {
  kernels::Matmul shape;
  const std::uint16_t* a = nullptr;
  const std::uint16_t* b = nullptr;
};
void multiply_bf16(const Bf16Matmul& op);

}  // namespace narrows

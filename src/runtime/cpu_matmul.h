// One thread's matmul on the CPU: oneDNN's, or the plain one of kernels/. Internal to the CPU
// backend.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/matmul.h"

namespace narrows {

// oneDNN shall not start threads of its own in calls of this thread.
void be_single_threaded();

void multiply_f32(const kernels::Matmul& op);

// The same of bf16 operands, both narrow; sums and result are f32.
void multiply_bf16(const kernels::Matmul& op);

// For kernels that are made of small matmuls.
kernels::SmallMatmul small_f32();
kernels::SmallMatmul small_narrow();  // of operands that are bf16 already
// Operands rounded to bf16 on the way: on tiles where the processor has them. Without, an operand
// has at most `elements` elements.
kernels::SmallMatmul small_bf16(std::int64_t elements);

}  // namespace narrows

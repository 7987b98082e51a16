// One thread's matmul on the CPU: oneDNN's, or the plain one of kernels/. Internal to the CPU
// backend.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/matmul.h"
#include "runtime/backend.h"

namespace narrows {

// oneDNN shall not start threads of its own in calls of this thread.
void be_single_threaded();

void cpu_matmul(const kernels::Matmul& op, Multiply format);
kernels::MatmulFunction small_matmul(Multiply format);

}  // namespace narrows

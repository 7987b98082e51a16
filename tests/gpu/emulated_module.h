// The table of gpu.so (kernels/cuda/gpu.h) over the emulation: memory is the host's, every verb
// with kernels of our own runs, and what needs CUPTI is refused, and cuBLASLt unless asked for.
// Collectives are among threads of this process, each with a context of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/gpu.h"

namespace narrows::gpu {

const Api& emulated_api();
// Whether the threads of a block run from the last to the first.
void emulate_backwards(bool backwards);
// What contexts opened from here on, in any thread, are of. At first: one device of sm_80 with
// NCCL.
struct Emulated {
  int devices = 1;
  int architecture = 80;
  bool has_nccl = true;
  bool multiplies = false;  // what cuBLASLt would, by plain loops
};
void emulate(const Emulated& machine);

}  // namespace narrows::gpu

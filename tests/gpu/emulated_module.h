// The table of gpu.so (kernels/cuda/gpu.h) over the emulation: memory is the host's, every verb
// with kernels of our own runs, and what needs CUDA's libraries is refused.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/gpu.h"

namespace narrows::gpu {

const Api& emulated_api();
// Whether the threads of a block run from the last to the first.
void emulate_backwards(bool backwards);

}  // namespace narrows::gpu

// The kernel of matmuls in E4M3, as scaled_groups.cu uses it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/matmul_tiles.cuh"

namespace narrows::gpu {

// Two bytes stand for one bf16 where tiles are concerned: a step is 128 numbers, one scale.
inline constexpr int kScaled = 2 * kStep;

TileOrder order_of(const GroupedScaledMatmul& op, int height);
// Floats of scales from one matrix of b to the next.
std::int64_t scales_of_b(const GroupedScaledMatmul& op);
// All groups, in one launch for each kMostGroups of them.
Code scaled_by_kernel(Context& context, const GroupedScaledMatmul& op);

}  // namespace narrows::gpu

// Matmul on the processor's matrix tiles (Intel AMX): operands are rounded to bf16 on the way into
// tiles, products are summed in f32.
//
// A tile holds 16 rows of 64 bytes; one instruction multiplies 16 x 32 by 32 x 16. Blocks of both
// operands are packed tile by tile, so that a tile is one run of memory, and four accumulators
// share four loads. Packing rounds: what is wide never goes through memory as bf16 first. Blocks
// are sized for an L2 of 2 MiB: 1 MiB of b stays while 128 rows of a come by.
//
// Floor: 1024 FLOPs a clock and core (2.66 TFLOP/s at 2.6 GHz).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/matmul.h"

namespace narrows::kernels {

// Whether the processor has tiles and the system lets this process use them (it is asked).
bool has_amx();

// `scratch`: kAmxScratch bytes of the calling thread's own, at a multiple of 64. Only where
// has_amx(). `a_narrow` and `b_narrow` of `op` are read where they are given, and `c_narrow` is
// written, of sums over at most kAmxNarrowDepth.
inline constexpr std::int64_t kAmxNarrowDepth = 2048;
inline constexpr std::int64_t kAmxScratch = (1024 + 128) * 512 * 2;
void amx_matmul(const Matmul& op, void* scratch);

}  // namespace narrows::kernels

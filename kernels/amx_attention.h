// Attention (kernels/attention.h) on the processor's matrix tiles: keys and values of a head are
// packed once, scores of 32 queries at a time stay in the cache nearest to the core, and
// probabilities are written as the tiles of the next product.
//
// Backward sums dK and dV transposed, as Q^T dS and dO^T P: so both products take the probabilities
// of pairs of queries side by side, which costs nothing where two rows are made at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/attention.h"

namespace narrows::kernels {

// Only where has_amx(), and of an op that is `narrow`. `scratch`: so many floats of the calling
// thread's own, at a multiple of 64 bytes.
std::int64_t amx_attention_scratch(const Attention& op);
void amx_attention(const Attention& op, std::int64_t unit, float* scratch);
void amx_attention_grad(const AttentionGrad& op, std::int64_t unit, float* scratch);

}  // namespace narrows::kernels

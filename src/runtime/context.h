// Context parallelism: a sequence is cut into 2 cp runs and rank c works on runs c and 2 cp - 1 -
// c, so that causal work is even. For attention every rank gathers the keys and values of the
// others, and puts them into the order of their positions; backward sums their gradients where they
// belong.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/rank_context.h"

namespace narrows {

// The positions of one sequence that a context-parallel rank works on, ascending.
std::vector<std::int32_t> context_positions(std::int64_t sequence, int cp, int cp_rank);

// Keys and values as attention reads them: (batch * keys, kv_heads (qk + v)), all keys of a
// sequence in the order of their positions.
struct KeysAndValues {
  std::int64_t heads = 0;
  std::int64_t qk_dim = 0;
  std::int64_t v_dim = 0;
  kernels::Heads<const float> k, v;  // of this rank's tokens
};
Result<Storage> gather_context(RankContext& rank, const KeysAndValues& mine, std::int64_t batch);

// The inverse for gradients: `all` has the shape of gather_context's result and is used up.
struct KeyAndValueGrads {
  kernels::Heads<float> k, v;  // of this rank's tokens; written
};
Status scatter_context(RankContext& rank, const KeysAndValues& shape, Storage all,
                       std::int64_t batch, const KeyAndValueGrads& mine);

}  // namespace narrows

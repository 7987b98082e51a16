// Context parallelism: a sequence is cut into 2 cp runs and rank c works on runs c and 2 cp - 1 -
// c, so that causal work is even. How attention sees the whole sequence is the plan's choice:
//
//   all-gather  every rank gathers the keys and values of the others, and puts them into the order
//               of their positions; backward sums their gradients where they belong
//   ring        keys and values pass round the ranks while each attends to those it holds, and
//               merges what it has seen (liu2023); backward their gradients pass round too
//   all-to-all  ranks exchange tokens for heads, and attend to whole sequences with a part of the
//               heads (jacobs2023)
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

// Attention of this rank's queries over whole sequences: `own` has this rank's keys and values.
Status ring_attention(RankContext& rank, const kernels::Attention& own);
Status ring_attention_grad(RankContext& rank, const kernels::AttentionGrad& own);

// The same with a part of the heads for all tokens: `own` has q, k and v of all heads for this
// rank's tokens, but counts the heads of the part, and its outputs are theirs, in the order of
// positions; so is the gradient of the output, while those of q, k and v are own tokens' again.
Status spread_attention(RankContext& rank, const kernels::Attention& own);
Status spread_attention_grad(RankContext& rank, const kernels::AttentionGrad& own);
// Between a part of the heads for all tokens, in the order of positions, and all heads for own
// tokens.
Status heads_to_tokens(RankContext& rank, std::int64_t batch, const Storage& heads,
                       Storage& tokens);
Status tokens_to_heads(RankContext& rank, std::int64_t batch, const Storage& tokens,
                       Storage& heads);

}  // namespace narrows

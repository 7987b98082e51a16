// What of a block's forward pass stays until its gradients have read it, and which forward ops run
// again in backward because their outputs do not. The first step of differentiate().
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "model/block.h"

namespace narrows {

// Fills `graph`'s kept_for_input, kept_for_weight and recompute, what the recomputation hands to W,
// and the gathers that W repeats under sequence parallelism. Returns, for each forward op, whether
// it runs again.
std::vector<bool> choose_kept(Graph& graph, Recompute recompute, const Fusions& fusions);

bool contains(const std::vector<TensorId>& ids, TensorId id);
// The forward op that makes the tensor; null if it enters the block.
const Op* producer_of(const Graph& graph, TensorId id);
// Whether the op is an all-gather.
bool gathers(const Op& op);

}  // namespace narrows

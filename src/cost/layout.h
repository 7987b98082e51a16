// What of a strategy changes the price of a block: the sharding, where its groups lie on the
// cluster's levels, and the numeric choices. The planner prices each distinct key once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hardware/cluster.h"
#include "model/block.h"
#include "model/keep.h"
#include "model/recipe.h"

namespace narrows {

struct BlockLayout {
  Sharding sharding;
  Recipe recipe = Recipe::Bf16;
  Recompute recompute = Recompute::None;
  Span tp, cp, ep, etp;
  friend auto operator<=>(const BlockLayout&, const BlockLayout&) = default;
};

}  // namespace narrows

// The search space: every well-formed strategy of a model on a cluster under a training stack, in a
// fixed order. Axes that change a block's price vary outermost, so that each block is priced once;
// the rules are those of plan/validate.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "plan/pins.h"
#include "plan/strategy.h"
#include "plan/validate.h"

namespace narrows {

// Strategies that share a block layout (all but pipeline, schedule and ZeRO).
struct StrategyFamily {
  Strategy base;  // pp, dp, schedule, zero open
  std::vector<Strategy> strategies;
};

struct Space {
  Limits limits;
  Pins pins;
  int gpus_per_node = 8;
  int domain = 8;  // GPUs that the fastest links join: tensor parallelism stays inside
};

// All families, strategies in a fixed total order. Families without strategies are left out.
std::vector<StrategyFamily> enumerate(const Space& space);
std::int64_t count(const std::vector<StrategyFamily>& families);

// Why nothing is well-formed although something is pinned: the first rule that the pins break, in
// words.
Error explain_empty(const Space& space);

}  // namespace narrows

// What a whole training costs: time, GPU-hours, money and energy, from its step and its number of
// tokens.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "base/units.h"
#include "hardware/cluster.h"
#include "plan/training.h"

namespace narrows {

struct TrainingCost {
  double steps = 0;
  Seconds duration;
  double gpu_hours = 0;
  std::optional<Dollars> money;  // absent without a price
  std::optional<Joules> energy;  // absent without a node's power
};

// Absent where the number of tokens is unknown. `price` is the rent of one GPU, 0 = unknown. Pure
// pre-training time: no failures, no evaluation, no restarts.
std::optional<TrainingCost> training_cost(const Training& training, const Cluster& cluster,
                                          Seconds step, PricePerTime price);

}  // namespace narrows

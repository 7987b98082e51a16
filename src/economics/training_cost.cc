// SPDX-License-Identifier: Apache-2.0
#include "economics/training_cost.h"

namespace narrows {

std::optional<TrainingCost> training_cost(const Training& training, const Cluster& cluster,
                                          Seconds step, PricePerTime price) {
  if (training.tokens == 0) return std::nullopt;
  TrainingCost cost;
  const double tokens_a_step =
      static_cast<double>(training.sequence) * static_cast<double>(training.global_batch);
  cost.steps = static_cast<double>(training.tokens) / tokens_a_step;
  cost.duration = cost.steps * step;
  cost.gpu_hours = cluster.gpus * (cost.duration / hour);
  if (price > PricePerTime()) cost.money = cluster.gpus * (cost.duration * price);
  if (cluster.node_power.value > Watts()) {
    const double nodes = static_cast<double>(cluster.gpus) / cluster.gpus_per_node;
    cost.energy = nodes * (cost.duration * cluster.node_power.value);
  }
  return cost;
}

}  // namespace narrows

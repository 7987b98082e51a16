// What stays on a rank through the whole step: weights, gradients and optimiser state of the
// parameters it holds, as ZeRO shards them (rajbhandari2020) and the stack stores them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>

#include "cost/item_cost.h"
#include "model/parameters.h"
#include "plan/grid.h"
#include "plan/strategy.h"
#include "software/profile.h"

namespace narrows {

// Numbers of parameters on one rank by class, after tensor and expert parallelism.
struct HeldParameters {
  double dense = 0;  // linear layers outside the experts
  double norm = 0;
  double expert = 0;
  double tables = 0;  // embedding and head
  double adapters = 0;
  bool frozen = false;  // all but the adapters
  double all() const { return dense + norm + expert + tables + adapters; }
  HeldParameters& operator+=(const HeldParameters& other);
};
// Those that have a gradient and optimiser state.
HeldParameters trained(const HeldParameters& held);

// What ranks hold under one strategy's tensor and expert parallelism; made once, asked often.
class HeldTable {
 public:
  HeldTable(const ModelSpec& model, const Strategy& strategy);
  // For the items of one rank. Tables that an MTP block or a tied head borrows are held once.
  HeldParameters of(std::span<const ItemClass> items) const;
  // The same from how many items there are of each kind (ItemKind is the index).
  HeldParameters of(const std::array<int, 5>& counts) const;

 private:
  std::array<HeldParameters, 5> by_kind_{};
  double table_ = 0;      // of the vocabulary
  double positions_ = 0;  // learned ones
  bool tied_ = false;
  bool frozen_ = false;
};

// By how many ranks ZeRO divides each class's state, DualPipe's mirrored copy included.
struct ShardSizes {
  double dense = 1;
  double expert = 1;
};
ShardSizes shard_sizes(const Strategy& strategy, const Grid& grid);

struct StateBytes {
  Bytes weights;
  Bytes gradients;
  Bytes optimizer;
  Bytes all() const { return weights + gradients + optimizer; }
};
StateBytes state_bytes(const HeldParameters& held, const Strategy& strategy, const Grid& grid,
                       const SoftwareProfile& software);

// How weights are stored between steps, per class.
Dtype stored_weight(Recipe recipe, bool linear, const SoftwareProfile& software);

// Bytes that AdamW reads and writes in one step for the rank's own shard.
Bytes optimizer_traffic(const HeldParameters& held, const Strategy& strategy, const Grid& grid,
                        const SoftwareProfile& software);

}  // namespace narrows

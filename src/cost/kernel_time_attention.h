// Attention times (kernel_time.h gives the method): efficiencies of measured attention, scattered
// over the length attended to, the width of the heads, how many heads run at once, and causal or
// not.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <vector>

#include "cost/interpolate.h"
#include "cost/kernel_time_site.h"

namespace narrows {

class AttentionTimes {
 public:
  AttentionTimes(const KernelTables& tables, const Chip& chip, const std::string& generation);
  Estimate time(Recipe recipe, Direction direction, const AttentionShape& shape) const;

 private:
  struct Exact {
    AttentionShape shape;
    Seconds time;
  };
  struct Model {
    Scatter efficiencies;
    Relation relation = Relation::Any;
    double residual = 0;
    std::vector<Exact> exact;
  };
  void build(const KernelTables& tables, const Site& site, bool forward,
             const std::string& generation);
  bool pool(const KernelTables& tables, const Site& site, bool forward,
            const std::string& generation, Relation relation);

  // What quicker exponentials leave of a time that was measured on a relative.
  double softmax_gain(Relation relation, Direction direction, const AttentionShape& shape) const;

  ChipRates rates_;
  double exponentials_ = 1;      // of the chip, over its relatives'
  ChipRates wide_;               // f32
  std::array<Model, 2> models_;  // backward, forward
};

}  // namespace narrows

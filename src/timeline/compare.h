// Two timelines of one program side by side: what was predicted and what was measured.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/units.h"
#include "timeline/timeline.h"

namespace narrows {

// Spans of one kind, over all ranks. The kind is the name without its numbers, in capitals: "F",
// "F&B", "DISPATCH".
struct KindDifference {
  std::string kind;
  int spans = 0;   // found in both
  Tick predicted;  // sum of their durations
  Tick measured;
  friend bool operator==(const KindDifference&, const KindDifference&) = default;
};

struct Comparison {
  Tick predicted_end;
  Tick measured_end;
  std::vector<KindDifference> kinds;  // by name
  int only_predicted = 0;             // spans without a partner
  int only_measured = 0;
  bool same_order = true;  // every stream of every rank ran the same spans in the same order
};

// The k-th span of a name on a rank's stream is the partner of the k-th in the other timeline;
// streams go by name.
Comparison compare(const Timeline& predicted, const Timeline& measured);

}  // namespace narrows

// Where the time of a program goes, op by op: the runs of one op added up over layers, ranks and
// steps.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "timeline/timeline.h"

namespace narrows {

struct OpTotal {
  OpLabel label;  // without its layer
  std::int64_t runs = 0;
  double rows = 0;
  Tick time;
  friend bool operator==(const OpTotal&, const OpTotal&) = default;
};

// Adds to the total of the same op, or a new one behind the others.
void add_to(std::vector<OpTotal>& totals, const OpTotal& more);

// The longest first; of equals, the one that was added first.
void sort_by_time(std::vector<OpTotal>& totals);

// Of the spans of a timeline, sorted.
std::vector<OpTotal> op_totals(const Timeline& timeline);

}  // namespace narrows

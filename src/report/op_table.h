// Where a step's time goes, as a table: a line an op and direction, the longest first.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "timeline/op_totals.h"

namespace narrows {

// What the totals were added up over.
struct OpTableScope {
  std::int64_t steps = 1;
  int ranks = 1;
};

// Times are of one rank and step. Lines below a thousandth of the whole are added up in the last.
std::string op_table(const std::vector<OpTotal>& totals, OpTableScope scope);
// [{"op", "block", "direction", "kind", "shape", "format", "runs", "seconds", "share", "flops"}]:
// of one rank and step too; "shape" behind the rows, "flops" a second where it multiplies.
Json op_table_json(const std::vector<OpTotal>& totals, OpTableScope scope);

}  // namespace narrows

// What must wait for what: the instructions of a schedule as a directed acyclic graph, in flat
// arrays. A node is an instruction; it waits for the one before it on its rank and for what arrives
// along its route:
//
//   F(s, i)            the output of F(s-1, i)
//   I(s, i), B(s, i)   the gradient from I or B of (s+1, i), at its end; and F(s, i), which is
//   earlier on the rank W(s, i)            I(s, i), earlier on the rank
//
// A pair waits for both halves' inputs and gives both outputs at its end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/result.h"
#include "schedule/schedule.h"

namespace narrows {

// From which node an input comes, and the hop it takes: hop s of a route joins stages s and s+1, in
// either direction.
struct Arrival {
  int from = -1;  // -1: nothing to wait for
  int route = 0;
  int hop = -1;  // -1: both ends are on one rank, nothing is sent
};

struct ScheduleNode {
  int rank = 0;
  int index = 0;  // in the rank's program
  Arrival forward;
  Arrival backward;
};

struct ScheduleGraph {
  std::vector<ScheduleNode> nodes;  // rank by rank, in program order
  std::vector<int> first;           // rank -> its first node; and the number of nodes at the end
  std::vector<int> order;           // all nodes, each after what it waits for
};

// InvalidInput as `validate`.
Result<ScheduleGraph> graph_of(const Schedule& schedule);

}  // namespace narrows

// Items over stages: contiguous runs that make the slowest stage as fast as possible (min-max).
// With one chunk a rank the stages are independent; DualPipe and the V schedules fold the pipeline,
// so that a rank owns stage k and its mirror image and their sum counts. Every strategy gets this
// partition; it is exact, and the same on every machine: of several best ones the first stages are
// the fullest.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/units.h"

namespace narrows {

// stage -> its last item, ascending; every stage has at least one item.
using Cuts = std::vector<int>;

// The smallest possible largest sum of `stages` contiguous, non-empty runs. Bisection on the
// answer, each step one greedy sweep: O(items log total). Needs 1 <= stages <= items.
Tick smallest_bottleneck(const std::vector<Tick>& work, int stages);
// A partition that reaches it.
Cuts min_max_partition(const std::vector<Tick>& work, int stages);

// Stages 2 ranks in a V or in DualPipe's two directions: minimises the largest work of stage k plus
// stage 2 ranks-1-k. A shortest path in the bottleneck sense on a layered graph
// (partition_graph.cc, Boost.Graph).
Cuts folded_partition(const std::vector<Tick>& work, int stages);

// The same as min_max_partition by the shortest path on the (stage, item) graph: the oracle.
Tick bottleneck_by_shortest_path(const std::vector<Tick>& work, int stages);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "hardware/cluster.h"

namespace narrows {

Span span_of(const Cluster& cluster, int size, int stride) {
  ASSERT(size >= 1);
  ASSERT(stride >= 1);
  Span span;
  for (const Level& level : cluster.levels) {
    // Members are the ranks 0, stride, 2 stride, …; the first group holds those below its size.
    const int members = 1 + (level.group - 1) / stride;
    span.inside.push_back(std::min(size, members));
  }
  if (!span.inside.empty()) span.inside.back() = size;
  return span;
}

}  // namespace narrows

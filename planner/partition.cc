// SPDX-License-Identifier: Apache-2.0
#include "planner/partition.h"

#include <algorithm>

#include "base/result.h"

namespace narrows {
namespace {

// Whether runs of at most `limit` cover all items with at most `stages` of them.
bool fits(const std::vector<Tick>& work, int stages, Tick limit) {
  int used = 1;
  Tick sum;
  for (const Tick w : work) {
    if (w > limit) return false;
    if (sum + w > limit) {
      if (++used > stages) return false;
      sum = {};
    }
    sum += w;
  }
  return true;
}

}  // namespace

Tick smallest_bottleneck(const std::vector<Tick>& work, int stages) {
  ASSERT(stages >= 1);
  ASSERT(static_cast<int>(work.size()) >= stages);
  Tick total, largest;
  for (const Tick w : work) {
    total += w;
    largest = std::max(largest, w);
  }
  Tick low = std::max(largest, Tick{(total.ns + stages - 1) / stages});
  Tick high = total;
  while (low < high) {
    const Tick middle{low.ns + (high.ns - low.ns) / 2};
    if (fits(work, stages, middle)) {
      high = middle;
    } else {
      low = middle + Tick{1};
    }
  }
  return low;
}

Cuts min_max_partition(const std::vector<Tick>& work, int stages) {
  const Tick limit = smallest_bottleneck(work, stages);
  const int items = static_cast<int>(work.size());
  Cuts cuts;
  int item = 0;
  for (int stage = 0; stage < stages; ++stage) {
    // Fill up to the limit, but leave one item for each stage to come.
    const int most = items - (stages - 1 - stage);
    Tick sum = work[static_cast<std::size_t>(item)];
    int end = item + 1;
    while (end < most && sum + work[static_cast<std::size_t>(end)] <= limit) {
      sum += work[static_cast<std::size_t>(end)];
      ++end;
    }
    cuts.push_back(end - 1);
    item = end;
  }
  ASSERT(item == items);
  return cuts;
}

}  // namespace narrows

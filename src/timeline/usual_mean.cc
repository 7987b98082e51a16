// SPDX-License-Identifier: Apache-2.0
#include "timeline/usual_mean.h"

#include <algorithm>

#include "base/result.h"

namespace narrows {

Seconds usual_mean(std::vector<Tick> times) {
  ASSERT(!times.empty());
  std::sort(times.begin(), times.end());
  const Tick most = 3 * times[times.size() / 2];
  Tick sum;
  std::int64_t count = 0;
  for (const Tick time : times) {
    if (time > most) break;
    sum += time;
    ++count;
  }
  return (1 / static_cast<double>(count)) * to_seconds(sum);
}

}  // namespace narrows

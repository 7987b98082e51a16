// SPDX-License-Identifier: Apache-2.0
#include "measurement/link_rates.h"

namespace narrows {

double bus_share(CollectiveKind what, int ranks) {
  const double others = ranks > 0 ? static_cast<double>(ranks - 1) / ranks : 0;
  switch (what) {
    case CollectiveKind::AllReduce:
      return 2 * others;
    case CollectiveKind::AllGather:
    case CollectiveKind::ReduceScatter:
    case CollectiveKind::AllToAll:
    case CollectiveKind::Dispatch:
    case CollectiveKind::Combine:
      return others;
    case CollectiveKind::Broadcast:
    case CollectiveKind::SendRecv:
      break;
  }
  return 1;
}

Bandwidth algorithm_bandwidth(const LinkMeasurement& link) { return link.bytes / link.time; }

Bandwidth bus_bandwidth(const LinkMeasurement& link) {
  return bus_share(link.what, link.ranks) * algorithm_bandwidth(link);
}

}  // namespace narrows

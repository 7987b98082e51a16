// SPDX-License-Identifier: Apache-2.0
#include "plan/strategy.h"

namespace narrows {

std::string to_string(AxisOrder order) {
  return order == AxisOrder::TpCpDpPp ? "tp-cp-dp-pp" : "tp-cp-pp-dp";
}

std::optional<AxisOrder> axis_order_of(std::string_view name) {
  for (const AxisOrder order : {AxisOrder::TpCpDpPp, AxisOrder::TpCpPpDp}) {
    if (to_string(order) == name) return order;
  }
  return std::nullopt;
}

int stages_of(const Strategy& strategy) {
  switch (strategy.schedule) {
    case ScheduleKind::Interleaved:
      return strategy.pp * strategy.vpp;
    case ScheduleKind::ZbV:
    case ScheduleKind::DualPipeV:
      return 2 * strategy.pp;
    default:
      return strategy.pp;
  }
}

int chunks_per_rank(const Strategy& strategy) {
  return is_mirrored(strategy.schedule) ? 2 : stages_of(strategy) / strategy.pp;
}

int stage_of(const Strategy& strategy, int rank, int chunk) {
  if (chunk == 0) return rank;
  if (strategy.schedule == ScheduleKind::Interleaved) return chunk * strategy.pp + rank;
  // The way back of a V, or DualPipe's other direction.
  const int stages = stages_of(strategy);
  return stages - 1 - rank;
}

bool is_mirrored(ScheduleKind schedule) { return schedule == ScheduleKind::DualPipe; }

}  // namespace narrows

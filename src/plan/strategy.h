// A strategy: how a training is laid out, as `space` counts it. Names are cli.md's JSON names.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/keep.h"
#include "model/recipe.h"
#include "schedule/schedule.h"

namespace narrows {

// How the ranks are arranged: GPUs = pp * dp * cp * tp. `order` names the axes from the innermost:
// "tp-cp-dp-pp" (the default; data parallel inside pipeline) or "tp-cp-pp-dp" (pipeline stages on
// neighbouring nodes).
enum class AxisOrder { TpCpDpPp, TpCpPpDp };
std::string to_string(AxisOrder order);
std::optional<AxisOrder> axis_order_of(std::string_view name);

struct Strategy {
  int tp = 1;                      // tensor parallel
  int pp = 1;                      // pipeline ranks
  int vpp = 1;                     // chunks a rank (interleaved schedule)
  int ep = 1;                      // expert parallel
  int etp = 1;                     // tensor parallel inside an expert
  int cp = 1;                      // context parallel
  int dp = 1;                      // data parallel replicas of the batch
  int dp_shard = 1;                // ranks over which ZeRO/FSDP shards; divides dp * cp
  int zero = 0;                    // ZeRO stage
  int micro_batch = 1;             // sequences
  std::int64_t micro_batches = 1;  // per replica and step
  bool sequence_parallel = false;
  AxisOrder order = AxisOrder::TpCpDpPp;
  ScheduleKind schedule = ScheduleKind::OneFOneB;
  Recipe precision = Recipe::Bf16;
  Recompute recompute = Recompute::None;

  friend bool operator==(const Strategy&, const Strategy&) = default;
};

inline int gpus_of(const Strategy& s) { return s.tp * s.cp * s.dp * s.pp; }

// Pipeline stages of one route: pp * vpp interleaved, two a rank where the route is a V, else one a
// rank.
int stages_of(const Strategy& strategy);
// Chunks that one rank owns: vpp, two for a V and for DualPipe (one of each direction).
int chunks_per_rank(const Strategy& strategy);
// The stage that chunk `chunk` of pipeline rank `rank` holds. DualPipe: chunk 0 is stage `rank` of
// the one direction, chunk 1 the mirrored stage, with the weights of its mirror rank.
int stage_of(const Strategy& strategy, int rank, int chunk);
// Whether stages r and pp-1-r hold copies of each other's weights (DualPipe), so that reductions
// span both.
bool is_mirrored(ScheduleKind schedule);

// The algorithm by which each axis communicates, by the name under which collectives are priced and
// run; "" = not chosen. Minimised inside an evaluation, therefore beside the strategy and not
// counted in `space`.
struct CommChoice {
  std::string tp, dp, ep, cp, pp;
  friend bool operator==(const CommChoice&, const CommChoice&) = default;
};

}  // namespace narrows

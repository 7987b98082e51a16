// A pipeline schedule: when each rank does what. One ordered list of instructions a rank; generated
// by pure functions (library.h), checked by one validator (validate.h), played by `sim`, executed
// by `runtime`.
//
// A rank owns chunks. A *route* is the path of a micro-batch through the chunks, first stage to
// last: one route for all schedules but DualPipe, which has two (one a direction). Micro-batches
// are counted within their route.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace narrows {

enum class ScheduleKind { GPipe, OneFOneB, Interleaved, ZbH1, ZbH2, ZbV, DualPipe, DualPipeV };
std::string to_string(ScheduleKind kind);  // "1f1b"
std::optional<ScheduleKind> schedule_of(std::string_view name);
const std::vector<ScheduleKind>& all_schedules();

// F forward, I input gradient, W weight gradient, B = I then W, Pair = a forward of one chunk
// overlapped with a B.
enum class Action : std::uint8_t { Forward, InputGrad, WeightGrad, Backward, Pair };

struct Instruction {
  Action action = Action::Forward;
  int chunk = 0;        // of this rank; of a Pair: the forward's
  int micro_batch = 0;  // of a Pair: the forward's
  int back_chunk = -1;  // of a Pair: the backward's
  int back_micro_batch = -1;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};
using Program = std::vector<Instruction>;

struct ChunkRef {
  int rank = 0;
  int chunk = 0;
  friend bool operator==(const ChunkRef&, const ChunkRef&) = default;
};

struct Schedule {
  ScheduleKind kind = ScheduleKind::OneFOneB;
  int ranks = 1;
  int chunks_per_rank = 1;
  int micro_batches = 1;                      // of all routes together
  std::vector<std::vector<ChunkRef>> routes;  // route -> stage -> where
  std::vector<Program> programs;              // rank -> instructions in order

  int stages() const { return static_cast<int>(routes.front().size()); }
  int micro_batches_of_route() const { return micro_batches / static_cast<int>(routes.size()); }
};

}  // namespace narrows

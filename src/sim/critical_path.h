// Why a step takes as long as it does. The critical path is the chain of instructions and sends,
// each starting when the one before it ends, from time 0 to the makespan: shortening anything else
// changes nothing. The time table of a rank splits the makespan into what the rank ran and what it
// waited. Both add up exactly.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/units.h"
#include "schedule/graph.h"
#include "schedule/schedule.h"
#include "sim/play.h"

namespace narrows {

// Time by what it was spent on.
struct TimeTable {
  Tick forward;
  Tick input_grad;
  Tick weight_grad;
  Tick backward;
  Tick pair;
  Tick send;     // of a critical path; a rank waits meanwhile
  Tick waiting;  // of a rank: the bubble
  friend bool operator==(const TimeTable&, const TimeTable&) = default;
};
Tick total(const TimeTable& table);

// rank -> its makespan's worth of time; total = makespan.
std::vector<TimeTable> time_tables(const Schedule& schedule, const Played& played);

// The rank that ends last; of several, the first.
int last_rank(const Played& played);

// An instruction on the critical path. `send` is the time its input travelled since the link before
// ended; 0 where it waited for its own rank only.
struct CriticalLink {
  int rank = 0;
  int index = 0;  // in the rank's program
  Tick send;
  Tick start;
  Tick end;
  friend bool operator==(const CriticalLink&, const CriticalLink&) = default;
};

struct CriticalPath {
  std::vector<CriticalLink> links;  // in order of time; the last one ends at the makespan
  TimeTable table;                  // waiting is 0; total = makespan
};

// `played` must be what `durations` give for this schedule (an ASSERT otherwise). Of several
// chains, going back from the end of `last_rank`, the one that stays on its rank; then the one
// through the forward input. InvalidInput as `validate`.
Result<CriticalPath> critical_path(const Schedule& schedule, const Durations& durations,
                                   const Played& played);

}  // namespace narrows

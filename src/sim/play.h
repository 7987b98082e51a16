// From durations of instructions to times: the second of two levels of simulation. The first gives
// each instruction of a chunk its duration, communication inside the chunk included; this one lets
// in-order ranks run a schedule with them. That is one longest path through a static graph, so
// there is no event queue and nothing to choose: an instruction starts as soon as its rank is free
// and its inputs have arrived.
//
// A send takes its latency between ranks, costs the sender nothing, does not contend, and is free
// inside a rank. Ticks are whole, so sums are exact and the same on every machine. The step's
// optimiser is not included.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "schedule/graph.h"
#include "schedule/schedule.h"
#include "timeline/timeline.h"

namespace narrows {

// One instruction of one chunk with one micro-batch. `backward` is B as one operation; where
// nothing is gained by that, it is input_grad + weight_grad.
struct ChunkTimes {
  Tick forward;
  Tick input_grad;
  Tick weight_grad;
  Tick backward;
  friend bool operator==(const ChunkTimes&, const ChunkTimes&) = default;
};

struct Durations {
  std::vector<std::vector<ChunkTimes>> chunk;  // rank -> chunk
  // rank -> forward's chunk -> backward's chunk; may be empty if the schedule has no pairs.
  std::vector<std::vector<std::vector<Tick>>> pair;
  // route -> hop s, of stages - 1: latency from stage s to s+1, and from s+1 to s. Not looked at
  // where both stages are on one rank. May be empty: sends take no time.
  std::vector<std::vector<Tick>> forward_send;
  std::vector<std::vector<Tick>> backward_send;
};

// The same times everywhere: what papers draw.
Durations uniform_durations(const Schedule& schedule, ChunkTimes times, Tick pair = {},
                            Tick send = {});

// When what ran. Vectors are rank -> instruction of its program.
struct Played {
  Tick makespan;
  std::vector<Tick> busy;  // rank -> time spent in instructions
  std::vector<std::vector<Tick>> start;
  std::vector<std::vector<Tick>> end;
};

// A schedule made ready to be played many times: flat arrays in an order in which every instruction
// comes after what it waits for. Independent of the Schedule it was made from.
class CompiledSchedule {
 public:
  // InvalidInput as `validate`.
  static Result<CompiledSchedule> of(const Schedule& schedule);

  // Durations must have the schedule's shape (an ASSERT otherwise).
  Played play(const Durations& durations) const;

  // The same where ranks share processors: durations are those of an instruction while all ranks
  // run; a rank that waits leaves its share to the others. While k of the ranks run, each goes
  // min(`alone`, ranks / k) times as fast. `alone` of at least 1; 1: as above.
  Played play_shared(const Durations& durations, double alone) const;

  // The makespan alone, which allocates nothing after the first call. Not const: it keeps scratch
  // space, so threads need a copy each.
  Tick makespan(const Durations& durations);

  // The same with `extra` time added to each instruction, numbered rank by rank in program order:
  // jitter, a pause, one slow micro-batch. Drawing it is the caller's business.
  Tick makespan(const Durations& durations, std::span<const Tick> extra);

  std::size_t instructions() const { return steps_.size(); }

 private:
  // Indices are into the table of durations and into the ends of earlier steps; entry 0 of both is
  // a zero.
  struct Step {
    int duration = 0;
    int before = 0;  // on the same rank
    int forward_from = 0;
    int forward_send = 0;
    int backward_from = 0;
    int backward_send = 0;
  };
  struct Scratch {
    std::vector<std::int64_t> table;
    std::vector<std::int64_t> ends;
  };

  friend class SharedPlay;

  void fill_table(const Durations& durations, std::vector<std::int64_t>& table) const;
  std::int64_t run(Scratch& scratch, std::span<const Tick> extra) const;
  int duration_slot(int rank, const Instruction& instruction) const;
  int send_slot(const Arrival& arrival, bool backward) const;
  Step step_of(const ScheduleNode& node, const Instruction& instruction,
               const std::vector<int>& place) const;

  int ranks_ = 0;
  int chunks_ = 0;
  int routes_ = 0;
  int hops_ = 0;
  bool has_pairs_ = false;
  std::vector<Step> steps_;
  std::vector<int> first_;  // rank -> its first node; nodes are numbered rank by rank
  std::vector<int> node_;   // step -> node
  std::vector<int> rank_;   // step -> rank
  Scratch scratch_;
};

// The spans of every instruction on the stream "compute", named as in schedule/text.h.
Timeline to_timeline(const Schedule& schedule, const Played& played);

}  // namespace narrows

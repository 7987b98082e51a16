// Where a rank's time goes: every op of every block, each with its direction, and what else a step
// does. Two readings of the clock and an addition an op, so it is always on; spans are kept only
// while a timeline records.
//
// Threads: a log belongs to the thread of its rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "timeline/op_totals.h"
#include "timeline/timeline.h"

namespace narrows {

// What a step does beside the ops of blocks.
enum class StepWork {
  ReadTokens,
  Receive,           // waiting for the chunk before
  GatherWeights,     // ZeRO 3
  ScatterGradients,  // from ZeRO 2
  ClearGradients,
  ReduceGradients,
  GradientNorm,
  Update,
  SendWeights  // ZeRO 1 and 2: the new weights to all that hold them
};

class OpTimer;

class OpLog {
 public:
  OpLog();

  // The index of the label.
  int add(OpLabel label);
  static int label_of(StepWork work) { return static_cast<int>(work); }

  void ran(int label, std::int64_t rows, Tick start, Tick end);
  // A part of an op before it made room for others: its run is counted with the last part.
  void ran_part(int label, std::int64_t rows, Tick start, Tick end);

  // From now on spans of rank `rank` go to `timeline` too, which outlives the log; null ends it.
  void record(Timeline* timeline, int rank);

  // Since the beginning, the longest first.
  std::vector<OpTotal> totals() const;

 private:
  friend class OpTimer;
  friend class OpPause;
  std::vector<OpLabel> labels_;
  std::vector<OpTotal> totals_;   // by label; their own labels are empty
  Timeline* timeline_ = nullptr;  // borrows
  int rank_ = 0;
  OpTimer* open_ = nullptr;  // of the op that runs
};

// The steady clock.
Tick clock_now();

// Logs one op from its construction to its end; a null log times nothing.
class OpTimer {
 public:
  OpTimer(OpLog* log, int label, std::int64_t rows = 0);
  OpTimer(OpLog* log, StepWork work) : OpTimer(log, OpLog::label_of(work)) {}
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;
  ~OpTimer();

  void set_rows(std::int64_t rows) { rows_ = rows; }

 private:
  friend class OpPause;
  OpLog* log_;  // borrows
  OpTimer* outer_ = nullptr;
  int label_;
  std::int64_t rows_;
  Tick start_;
};

// While it lives, the op that ran makes room for others, whose time is not its own.
class OpPause {
 public:
  explicit OpPause(OpLog* log);
  OpPause(const OpPause&) = delete;
  OpPause& operator=(const OpPause&) = delete;
  ~OpPause();

 private:
  OpLog* log_;  // borrows
  OpTimer* paused_;
};

}  // namespace narrows

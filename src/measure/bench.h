// Runs tasks on all ranks at once and times them, as sampler.h decides: the first rank leads, the
// others follow. All ranks run the same task at the same time, so that an op has the share of
// memory bandwidth that it has in a training step. An op's time is the mean over ranks, a
// collective's that of the slowest rank. Every sample repeats its task until it lasts long enough
// for the clock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "measure/sampler.h"

namespace narrows {

struct BenchTask {
  std::function<Status()> run;  // once; on every rank
  bool is_collective = false;
  int group = 0;  // of tasks that follow the machine's pace alike
};

// Where it runs. `now` and `busy` are clocks of the calling thread: wall time, and the time that it
// really had a processor (empty = not known): a sample during which the rank was not running counts
// as disturbed.
struct BenchSite {
  Communicator* world = nullptr;  // borrows; null: this rank alone
  std::function<Seconds()> now;
  std::function<Seconds()> busy;
  std::function<Seconds()> calibrate;  // runtime/calibration.h; empty = not known
};

struct BenchProgress {
  int tasks = 0;
  int finished = 0;
  Seconds elapsed, budget;
};

struct BenchOptions {
  SampleRules rules;
  Seconds shortest = 200 * us;  // of a sample
  std::uint64_t seed = 1;
  const std::atomic<bool>* stop = nullptr;  // borrows
  // On the first rank, after every sample.
  std::function<void(const BenchProgress&)> progress;
  // On the first rank: a task is finished, or (at the end) has some samples.
  std::function<Status(int task, const SampleSummary& summary)> result;
};

// How fast the ranks were meanwhile.
struct MachinePace {
  Seconds calibration;   // mean; 0 = not known
  int calibrations = 0;  // that this is known from
  // What the slowest rank's calibrations of a tenth of a second or so take, over the mean of all
  // ranks': who trains together waits for it.
  double slowest = 1;
};

// Every rank calls it with the same tasks. Ends when all tasks are finished, the budget is spent or
// `stop` is set. Returns the pace on the first rank, nothing on the others.
Result<MachinePace> time_tasks(std::span<const BenchTask> tasks, const BenchSite& site,
                               const BenchOptions& options);

}  // namespace narrows

// Decides what is timed next and when it has been timed enough, on a machine that others use too.
//
// Tasks are visited in rounds, each round in a new random order, so that a slow minute falls on all
// of them alike. Beside every sample stands the time of one calibration matmul. The machine's usual
// pace is that of its better moments, which a quarter of the calibrations stay below: a training
// has good moments and bad ones, and the best of thousands is nobody's. A sample is quiet if its
// calibration took at most `quiet` times that, and only quiet samples count as long as there are
// enough of them; else all count, each divided by how slow its calibration was. A task is finished
// when the 95 % interval of its median (by order statistics, which assume no distribution) is
// within `half_width` of it. Pure: time comes in with the samples.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "base/units.h"

namespace narrows {

struct SampleRules {
  Seconds budget = 60 * sec;
  double half_width = 0.02;  // of the median
  double quiet = 1.08;
  int least = 5;               // samples of a finished task
  int most = 40;               // a task that stays noisy is given up as it is
  bool once_at_least = false;  // the budget does not end the first round
  int first = 0;               // so many tasks begin that round; no budget ends before them
};

struct Sample {
  Seconds time;
  Seconds calibration;
};

// What the samples of a task say.
struct SampleSummary {
  Seconds median, p10, p90;
  int samples = 0;        // that count
  int disturbed = 0;      // that do not, or count corrected
  double half_width = 0;  // of the median's interval, over the median
};
// `usual` is the calibration at the machine's usual pace. At least one sample.
SampleSummary summarise(std::span<const Sample> samples, Seconds usual, const SampleRules& rules);

class Sampler {
 public:
  Sampler(int tasks, const SampleRules& rules, std::uint64_t seed);

  // The next task, or nothing when all are finished or the budget is spent.
  std::optional<int> next(Seconds elapsed);
  void add(int task, Sample sample);
  // Never visit it again: it cannot be run.
  void give_up(int task);

  bool has_samples(int task) const { return !samples_[index(task)].empty(); }
  bool is_finished(int task) const { return finished_[index(task)]; }
  int finished() const;
  Seconds usual_calibration() const { return usual_; }
  SampleSummary summary(int task) const;

 private:
  static std::size_t index(int task) { return static_cast<std::size_t>(task); }
  void begin_round();
  void update_usual();

  SampleRules rules_;
  Random random_;
  std::vector<std::vector<Sample>> samples_;  // by task
  std::vector<bool> finished_;
  std::vector<int> round_;  // what is left of it, backwards
  std::ptrdiff_t visited_ = 0;
  std::vector<double> calibrations_;  // of all samples, seconds
  std::size_t known_ = 0;             // how many of them usual_ is of
  Seconds usual_;
};

}  // namespace narrows

// Decides what is timed next and when it has been timed enough, on a machine that others use too.
//
// Tasks are visited in rounds, each round in a new random order, so that a slow minute falls on all
// of them alike. What counts is the mean: a processor that is shared with a neighbour goes at one
// pace and at another, for milliseconds or for minutes, and a training step has its part of both,
// so that only means add up to it. Beside every sample stands the time of a calibration
// (runtime/calibration.h), which tells how fast the machine was just then: a task whose samples met
// slower moments than the others' is corrected by as much as samples follow their calibrations, a
// slope that is found over all tasks of a group (a control variate). Interruptions do not count:
// samples in which the rank did not run, and those beyond three times the median. A task is
// finished when the 95 % interval of its mean is within `half_width` of it. Pure: time comes in
// with the samples.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "base/units.h"

namespace narrows {

struct SampleRules {
  Seconds budget = 60 * sec;
  double half_width = 0.02;    // of the mean
  int least = 5;               // samples of a finished task
  int most = 40;               // a task that stays noisy is given up as it is
  bool once_at_least = false;  // the budget does not end the first round
  int first = 0;               // so many tasks begin that round; no budget ends before them
};

struct Sample {
  Seconds time;
  Seconds calibration;     // beside it; 0 = not timed
  bool preempted = false;  // others ran in this rank's place meanwhile
};

// What the samples of a task say.
struct SampleSummary {
  Seconds mean, p10, p90;
  int samples = 0;        // that count
  int interrupted = 0;    // that do not
  double half_width = 0;  // of the mean's interval, over the mean
};

// The machine's usual pace.
struct Pace {
  Seconds calibration;   // mean; 0 = not known
  int calibrations = 0;  // that this is known from
};

// At the usual pace. At least one sample. Interrupted ones count where there are no others.
// `slope`: by how much of a per cent a time grows with one of its calibration.
SampleSummary summarise(std::span<const Sample> samples, const Pace& pace, double slope);
Pace pace_of(std::span<const std::vector<Sample>> tasks);
double slope_of(std::span<const std::vector<Sample>> tasks, const Pace& pace);

class Sampler {
 public:
  // `groups`: of each task, tasks that follow the machine's pace alike; empty = one for all.
  Sampler(int tasks, const SampleRules& rules, std::uint64_t seed, std::vector<int> groups = {});

  // The next task, or nothing when all are finished or the budget is spent.
  std::optional<int> next(Seconds elapsed);
  void add(int task, Sample sample);
  // Never visit it again: it cannot be run.
  void give_up(int task);

  bool has_samples(int task) const { return !samples_[index(task)].empty(); }
  bool is_finished(int task) const { return finished_[index(task)]; }
  int finished() const;
  SampleSummary summary(int task) const;
  Pace pace() const { return pace_of(samples_); }
  double slope(int task) const;

 private:
  static std::size_t index(int task) { return static_cast<std::size_t>(task); }
  void begin_round();
  void update_pace();

  SampleRules rules_;
  Random random_;
  std::vector<std::vector<Sample>> samples_;  // by task
  std::vector<bool> finished_;
  std::vector<int> round_;  // what is left of it, backwards
  std::ptrdiff_t visited_ = 0;
  std::ptrdiff_t added_ = 0, known_ = 0;  // samples; how many of them pace_ is of
  Pace pace_;
  std::vector<int> groups_;
  std::map<int, double> slopes_;  // by group
};

}  // namespace narrows

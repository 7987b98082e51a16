// The search: every well-formed strategy gets an exact memory verdict and an admissible lower bound
// on its step; leaves are simulated in order of their bound, and when the next bound is not below
// the best simulated step, that plan is optimal with respect to the simulator within the space. The
// certificate is the gap between the two.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cost/step_cost.h"
#include "hardware/cluster.h"
#include "model/spec.h"
#include "plan/pins.h"
#include "plan/training.h"
#include "planner/space.h"
#include "sim/step.h"
#include "software/profile.h"

namespace narrows {

// Time and cost order strategies of one cluster alike; energy does too where nodes draw the same
// power all along.
enum class Objective { Time, Cost, Energy };

struct Job {
  const ModelSpec& model;
  const Cluster& cluster;
  const SoftwareProfile& software;
  Training training;
  Pins pins;
};

struct SearchOptions {
  int top = 5;         // alternatives to report
  Seconds time_limit;  // 0 = none
  int threads = 2;
  const std::atomic<bool>* stop = nullptr;  // set from outside to end with the best so far
  std::function<void(const std::string& what, double share)> progress;  // may be empty
};

// One simulated strategy.
struct Candidate {
  Strategy strategy;
  StageRuns runs;
  StepPrediction prediction;
  Tick bound;  // admissible, known before it was simulated
};

// What the least demanding strategy would need on its fullest rank.
struct Infeasible {
  Strategy strategy;
  int rank = 0;
  RankMemory needed;
  Bytes available;
};

struct SearchResult {
  std::int64_t space = 0;
  std::int64_t evaluated = 0;
  std::int64_t feasible = 0;
  std::int64_t simulated = 0;
  bool complete = true;
  Tick lower_bound;             // no plan of the space has a shorter step
  double gap = 0;               // 1 - lower_bound / best step
  std::vector<Candidate> best;  // ascending by step, no two with the same layout and schedule
  std::optional<Infeasible> infeasible;  // instead of `best`
};

// InvalidInput if the pins allow no layout. Deterministic: the same bytes from any number of
// threads, unless a time limit cuts it short.
Result<SearchResult> search(const Job& job, const KernelTimes& kernels,
                            const SearchOptions& options);

}  // namespace narrows

// A few steps of a plan, to see how long they take: in this process with ranks as threads, or by a
// launcher (`mpirun -np 2`) as processes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/plan.h"
#include "timeline/timeline.h"

namespace narrows {

struct TrialOptions {
  int steps = 5;                   // after one that does not count
  std::string launch;              // what stands before the command; "" = threads
  std::vector<std::string> links;  // --emulate-links, as train takes them
  bool trace = false;              // of trials that are threads
  const std::atomic<bool>* stop = nullptr;
};

struct Trial {
  std::vector<Seconds> steps;  // without the first
  Timeline timeline;
  Bytes memory_peak;
  // How often a second and rank other programs took the processor away; -1 = not known.
  double preemptions = -1;
  Seconds median() const;
  Seconds least() const;
};

// The tokens are portable:1's.
Result<Trial> run_trial(const Plan& plan, const TrialOptions& options);

}  // namespace narrows

// What trial runs say of single ops: the median time of each over layers, micro-batches and ranks,
// in the words of the store. Measured where they are used, with what ran before them in the caches.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/trial.h"
#include "measurement/observation.h"

namespace narrows {

struct TrialRun {
  const Plan& plan;  // borrows
  const Trial& trial;
};

// One a distinct op. Collectives and ops that hold one (with tensor or context parallelism some do)
// are left out, as are all runs that other programs disturbed, and of a plan that is not on this
// machine's own ranks.
std::vector<KernelObservation> rows_of(const TrialRun& run);

// Into the store; how many.
Result<std::int64_t> keep_trials(std::span<const TrialRun> runs,
                                 const std::optional<std::string>& db);

}  // namespace narrows

// Our prediction of one published run: its own layout, played by the planner's own evaluator with
// the planner's partition. A run that would not fit by our count of memory is predicted all the
// same, since it did run; its memory stands beside the measured one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "accuracy/run_job.h"
#include "cost/block_cost.h"
#include "cost/kernel_time.h"
#include "measurement/kernel_tables.h"
#include "planner/search.h"

namespace narrows {

struct RunPrediction {
  Seconds step;
  Seconds step_low;  // the 90 % interval; wider where the software is unknown
  Seconds step_high;
  RankMemory memory;  // of the fullest rank
  Bytes capacity;     // of its GPU, as the driver reports it
  Strategy strategy;
  std::string software;                                    // the profile
  bool moe = false;                                        // the model has experts
  std::vector<std::pair<std::string, Seconds>> breakdown;  // parts of `step` on the critical rank
  std::vector<std::string> assumed;
};

// The part of a rank's memory that a figure of the given kind counts.
Bytes counted(const RankMemory& memory, MemoryCount count);

// Predicts runs; remembers profiles and kernel times. Borrows the library and the tables. Not
// thread-safe: one per thread.
class RunPredictor {
 public:
  RunPredictor(const ProfileLibrary& library, const KernelTables& tables,
               std::vector<EmbeddedFile> overrides = {});

  // Unsupported, with the reason: see RunJobs::job_of.
  Result<RunPrediction> predict(const Run& run);
  RunPrediction predict(const RunJob& job);
  // The run's job. Recomputation that neither the record nor a recipe states is the first of none,
  // selective, v3 and full that its stack knows and with which all that the run needs fits its GPU
  // by our own count; none, if nothing fits.
  Result<RunJob> job_of(const Run& run);
  // The prediction with its pipeline, for explanations.
  Candidate simulate(const RunJob& job);
  RunJobs& jobs() { return jobs_; }

 private:
  Bytes needed(const RunJob& job);  // by its fullest rank
  const KernelTimes& kernels_of(const RunJob& job);
  const GroupCounts& groups_of(const ModelSpec& model);

  const KernelTables& tables_;
  RunJobs jobs_;
  // By chip, kernel generation and attention's own.
  std::map<std::tuple<std::string, std::string, std::string>, KernelTimes> kernels_;
  std::map<std::array<int, 4>, GroupCounts> groups_;  // experts, top_k, groups, top_groups
};

}  // namespace narrows

// A whole training run of a plan: its ranks, each with its Trainer, its data and its part of the
// trace. The ranks are threads of this process, or processes of an MPI job (world.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "comm/links.h"
#include "runtime/checkpoint.h"
#include "runtime/trainer.h"
#include "timeline/op_totals.h"
#include "timeline/timeline.h"

namespace narrows {

struct TrainingOptions {
  std::string data;                 // as TokenSource::open reads it
  std::string init = "portable:1";  // or a safetensors file or folder
  std::int64_t steps = 1;
  std::uint64_t seed = 1;  // of the order of samples
  OptimizerOptions optimizer;
  LossWeights loss_weights;
  CheckpointOptions checkpoint;             // no folder: none are saved
  std::int64_t checkpoint_every = 100;      // steps; one is saved after the last step in any case
  std::string resume;                       // a folder of checkpoints, or one; "" = begin anew
  std::vector<std::string> slow_links;      // as emulate_link reads them
  bool trace = false;                       // fill TrainingResult::timeline
  bool calibrate = false;                   // fill StepMetrics::calibration
  const std::atomic<bool>* stop = nullptr;  // ends after the step that runs; borrowed
};

struct TrainingResult {
  int ranks = 0;             // that are threads of this process
  Timeline timeline;         // measured, with its ops; of these ranks
  std::vector<OpTotal> ops;  // of these ranks, over all steps: the longest first
  Bytes memory_peak;  // of the tensors of the fullest rank, weights and optimiser state included
  bool stopped = false;
};

// Called on the first rank's thread after every step.
using OnStep = std::function<Status(const StepMetrics& metrics)>;

// Called where the process must end without unwinding, since a rank that hangs still uses what it
// was given (world.h): says the error if `speaks` and does not return.
using OnBroken = std::function<void(const Error& error, bool speaks)>;

// The first step that would run: 0, or where the checkpoint to resume from stands. A folder that is
// also saved to and holds none yet (the job was killed early) is a beginning.
Result<std::int64_t> first_step(const TrainingOptions& options);

Result<TrainingResult> run_training(const Plan& plan, const TrainingOptions& options,
                                    const OnStep& on_step, const OnBroken& on_broken);

}  // namespace narrows

// A whole training run of a plan: its ranks, each with its Trainer, its data and its part of the
// trace. The ranks are threads of this process.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "runtime/trainer.h"
#include "timeline/timeline.h"

namespace narrows {

struct TrainingOptions {
  std::string data;                 // as TokenSource::open reads it
  std::string init = "portable:1";  // or a safetensors file or folder
  std::int64_t steps = 1;
  std::uint64_t seed = 1;  // of the order of samples
  OptimizerOptions optimizer;
  Numerics numerics;
  bool trace = false;                       // fill TrainingResult::timeline
  const std::atomic<bool>* stop = nullptr;  // ends after the step that runs; borrowed
};

struct TrainingResult {
  Timeline timeline;  // measured; of all ranks
  Bytes memory_peak;  // of the tensors of the fullest rank, weights and optimiser state included
  bool stopped = false;
};

// Called on the first rank's thread after every step.
using OnStep = std::function<Status(const StepMetrics& metrics)>;

Result<TrainingResult> run_training(const Plan& plan, const TrainingOptions& options,
                                    const OnStep& on_step);

}  // namespace narrows

// Training on one rank: weights, steps, what each step measured. launch.h starts one a rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/executor.h"
#include "runtime/optimizer.h"

namespace narrows {

struct StepMetrics {
  std::int64_t step = 0;
  double loss = 0;       // cross-entropy, mean over the global batch's target tokens
  double mtp_loss = 0;   // of multi-token prediction, likewise, unweighted
  double aux_loss = 0;   // the balance loss
  double grad_norm = 0;  // before clipping
  double seconds = 0;
  double tokens_per_second = 0;
  // The mean over ranks, before and after the step (calibration.h); 0 = not timed.
  Seconds calibration;
};

class Trainer {
 public:
  // Every rank of `world` makes one; null where the plan has one rank. Borrows all of them.
  static Result<std::unique_ptr<Trainer>> make(const Plan& plan, Backend& backend,
                                               Communicator* world,
                                               const LossWeights& weights = {});

  // The portable random weights (portable.h).
  void initialise(std::uint64_t seed);

  // Forward and backward of the whole global batch: the losses; gradients stand reduced in the
  // buckets.
  Result<StepLoss> compute_gradients(std::int64_t step, const ReadTokens& read);
  // The same, and the update of the weights.
  Result<StepMetrics> step(std::int64_t step, const ReadTokens& read,
                           const OptimizerOptions& options);

  Executor& executor() { return *executor_; }
  Buckets& buckets() { return executor_->buckets(); }
  RankContext& rank() { return *rank_; }
  const StoragePool& pool() const { return pool_; }
  const OpLog& log() const { return log_; }

 private:
  Trainer() = default;

  StoragePool pool_;  // first: what follows gives its memory back to it
  OpLog log_;
  std::unique_ptr<Strands> strands_;
  std::unique_ptr<RankContext> rank_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace narrows

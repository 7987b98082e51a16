// What ends a step: the global gradient norm, clipping, and AdamW on this rank's share of every
// bucket.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "runtime/bucket.h"

namespace narrows {

enum class RateSchedule { Constant, Cosine };

struct OptimizerOptions {
  double learning_rate = 3e-4;
  std::int64_t warmup = 0;  // steps of linear rise
  RateSchedule schedule = RateSchedule::Constant;
  std::int64_t steps = 0;  // of the whole training: where cosine reaches a tenth
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;    // of tensors with two dimensions
  double clip = 0;              // the largest global norm, 0 = none
  double balance_rate = 0.001;  // of the biases of experts (balance.h; deepseek2024 §4.2)
};

// Of step 0, 1, ….
double learning_rate(const OptimizerOptions& options, std::int64_t step);

// The norm of the whole model's gradient, the same on every rank. After Buckets::reduce.
Result<double> gradient_norm(Buckets& buckets, RankContext& rank);

// Updates the shares of the weights from the reduced gradients. `step` counts from 0.
void update(Buckets& buckets, RankContext& rank, const OptimizerOptions& options, std::int64_t step,
            double norm);

}  // namespace narrows

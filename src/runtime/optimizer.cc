// SPDX-License-Identifier: Apache-2.0
#include "runtime/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/elementary.h"

namespace narrows {

double learning_rate(const OptimizerOptions& options, std::int64_t step) {
  if (step < options.warmup) {
    return options.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(options.warmup);
  }
  if (options.schedule == RateSchedule::Constant) return options.learning_rate;
  constexpr double kPi = 3.14159265358979323846;
  constexpr double kLeast = 0.1;
  const double length =
      static_cast<double>(std::max<std::int64_t>(1, options.steps - options.warmup));
  const double done = std::min(1.0, static_cast<double>(step - options.warmup) / length);
  const double wave = (1 + kernels::sine_cosine(kPi * done).cosine) / 2;
  return options.learning_rate * (kLeast + (1 - kLeast) * wave);
}

namespace {

// Of what another rank counts.
double squares_of_copies(Bucket& bucket, Buckets& buckets, RankContext& rank) {
  double sum = 0;
  for (const BucketWeight& w : bucket.weights) {
    for (const WeightPiece& p : w.weight.pieces) {
      const std::int64_t begin = w.offset + p.offset;
      const std::int64_t first = std::max(bucket.first, begin);
      const std::int64_t last = std::min(bucket.last, begin + p.piece_rows * p.stride);
      if (!p.is_copy || first >= last) continue;
      const float* at = buckets.gradient_share(bucket) + (first - bucket.first);
      sum += rank.backend.sum_of_squares(at, last - first);
    }
  }
  return sum;
}

}  // namespace

Result<double> gradient_norm(Buckets& buckets, RankContext& rank) {
  const OpTimer timer(rank.log, StepWork::GradientNorm);
  double sum = 0;
  for (Bucket& bucket : buckets.all()) {
    const std::int64_t share = bucket.last - bucket.first;
    const double all = rank.backend.sum_of_squares(buckets.gradient_share(bucket), share);
    sum += (all - squares_of_copies(bucket, buckets, rank)) / bucket.holders;
  }
  if (rank.groups.world != nullptr) {
    std::array<double, 1> total = {sum};
    TRY(rank.groups.world->all_reduce(std::span<double>(total)));
    sum = total.front();
  }
  return std::sqrt(sum);
}

void update(Buckets& buckets, RankContext& rank, const OptimizerOptions& options, std::int64_t step,
            double norm) {
  const OpTimer timer(rank.log, StepWork::Update);
  kernels::AdamW op{.learning_rate = learning_rate(options, step),
                    .beta1 = options.beta1,
                    .beta2 = options.beta2,
                    .epsilon = options.epsilon,
                    .step = step + 1};
  if (options.clip > 0) op.gradient_scale = std::min(1.0, options.clip / (norm + 1e-6));
  for (Bucket& bucket : buckets.all()) {
    for (const BucketWeight& w : bucket.weights) {
      // The part of the weight that lies in this rank's share.
      const std::int64_t first = std::max(bucket.first, w.offset);
      const std::int64_t last = std::min(bucket.last, w.offset + w.weight.count);
      if (first >= last) continue;
      const std::int64_t at = first - bucket.first;
      op.weight = buckets.value_share(bucket) + at;
      op.gradient = buckets.gradient_share(bucket) + at;
      if (bucket.first_moment_bf16.empty()) {
        op.first_moment = bucket.first_moment.data() + at;
        op.second_moment = bucket.second_moment.data() + at;
      } else {
        op.first_narrow = bucket.first_moment_bf16.data() + at;
        op.second_narrow = bucket.second_moment_bf16.data() + at;
      }
      op.count = last - first;
      op.decay = w.weight.pieces.front().vector ? 0 : options.weight_decay;
      rank.backend.run(op);
    }
  }
}

}  // namespace narrows

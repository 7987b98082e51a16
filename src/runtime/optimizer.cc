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

// Of a run that lies in this rank's share.
double squares(const Bucket& bucket, const BucketRun& run, const Buckets& buckets,
               RankContext& rank) {
  if (run.first >= run.last) return 0;
  const float* const share = buckets.gradient_share(bucket);
  return rank.backend.sum_of_squares(share + (run.first - bucket.first), run.last - run.first);
}

// Those that this rank counts; of pieces that are another's copies none.
double squares_of(const Bucket& bucket, const Buckets& buckets, RankContext& rank) {
  const BucketRun mine = buckets.counted(bucket);
  double sum = squares(bucket, mine, buckets, rank);
  for (const BucketWeight& w : bucket.weights) {
    for (const WeightPiece& p : w.weight.pieces) {
      if (!p.is_copy) continue;
      const std::int64_t begin = w.offset + p.offset;
      const std::int64_t end = begin + p.piece_rows * p.stride;
      sum -=
          squares(bucket, {std::max(mine.first, begin), std::min(mine.last, end)}, buckets, rank);
    }
  }
  return sum;
}

}  // namespace

Result<double> gradient_norm(Buckets& buckets, RankContext& rank) {
  const OpTimer timer(rank.log, StepWork::GradientNorm);
  double sum = 0;
  for (const Bucket& bucket : buckets.all()) sum += squares_of(bucket, buckets, rank);
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

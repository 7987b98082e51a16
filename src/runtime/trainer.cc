// SPDX-License-Identifier: Apache-2.0
#include "runtime/trainer.h"

#include <array>
#include <chrono>

#include "runtime/portable.h"
#include "runtime/supported.h"
#include "runtime/weight_names.h"

namespace narrows {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One piece of a weight; row by row, as its columns may be a part of the tensor's.
void fill_piece(const WeightPiece& piece, std::uint64_t seed, int layers, float* weight) {
  std::vector<float> row(static_cast<std::size_t>(piece.piece_columns), piece.initial);
  const PortableWeight portable = portable_weight(seed, portable_name(piece.name), layers);
  for (std::int64_t r = 0; r < piece.piece_rows; ++r) {
    if (!piece.vector) {
      const std::int64_t from = portable_row(piece, piece.first_row + r);
      fill(portable, from * piece.columns + piece.first_column, row);
    }
    std::copy(row.begin(), row.end(), weight + piece.offset + r * piece.stride);
  }
}

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::make(const Plan& plan, Backend& backend,
                                               Communicator* world, const LossWeights& weights) {
  TRY(check_supported(plan));
  std::unique_ptr<Trainer> trainer(new Trainer());
  trainer->rank_ =
      std::make_unique<RankContext>(TRY(make_rank_context(plan, backend, trainer->pool_, world)));
  trainer->rank_->log = &trainer->log_;
  trainer->strands_ = std::make_unique<Strands>([&backend] { backend.adopt_thread(); });
  trainer->rank_->strands = trainer->strands_.get();
  trainer->rank_->loss_weights = weights;
  trainer->executor_ = std::make_unique<Executor>(TRY(Executor::make(*trainer->rank_)));
  return trainer;
}

void Trainer::initialise(std::uint64_t seed) {
  for (Bucket& bucket : buckets().all()) {
    std::vector<float> whole(static_cast<std::size_t>(bucket.count));
    for (const BucketWeight& w : bucket.weights) {
      for (const WeightPiece& piece : w.weight.pieces) {
        fill_piece(piece, seed, rank_->model().layers, whole.data() + w.offset);
      }
    }
    const std::int64_t first = std::ssize(bucket.value) < bucket.count ? bucket.first : 0;
    std::copy_n(whole.begin() + first, bucket.value.size(), bucket.value.begin());
  }
}

Result<StepLoss> Trainer::compute_gradients(std::int64_t step, const ReadTokens& read) {
  buckets().clear_gradients();
  const StepLoss mine = TRY(executor_->run(step, read));
  TRY(buckets().reduce());
  std::array<double, 3> losses = {mine.next, mine.mtp, mine.aux};
  if (rank_->groups.world != nullptr) {
    TRY(rank_->groups.world->all_reduce(std::span<double>(losses)));
  }
  return StepLoss{losses[0], losses[1], losses[2]};
}

Result<StepMetrics> Trainer::step(std::int64_t step, const ReadTokens& read,
                                  const OptimizerOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  StepMetrics metrics;
  metrics.step = step;
  const StepLoss loss = TRY(compute_gradients(step, read));
  metrics.loss = loss.next;
  metrics.mtp_loss = loss.mtp;
  metrics.aux_loss = loss.aux;
  metrics.grad_norm = TRY(gradient_norm(buckets(), *rank_));
  update(buckets(), *rank_, options, step, metrics.grad_norm);
  TRY(rank_->balance.update(rank_->groups, options.balance_rate));
  TRY(buckets().gather());
  metrics.seconds = seconds_since(start);
  const Training& t = rank_->plan.training;
  metrics.tokens_per_second =
      static_cast<double>(t.global_batch) * static_cast<double>(t.sequence) / metrics.seconds;
  return metrics;
}

}  // namespace narrows

// The language of the runtime's tests: small models, plans over them, and a run of one plan with
// all its ranks as threads, its gradients put together to whole tensors.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/thread_comm.h"
#include "model/small_models.h"
#include "plan/plan.h"
#include "runtime/cpu_backend.h"
#include "runtime/portable.h"
#include "runtime/trainer.h"

namespace narrows::testing {

// An even plan: items in equal runs over the strategy's stages.
inline Plan small_plan(const ModelSpec& model, const Strategy& strategy, std::int64_t sequence,
                       std::int64_t global_batch) {
  Plan plan;
  plan.model = model;
  plan.training.sequence = sequence;
  plan.training.global_batch = global_batch;
  plan.strategy = strategy;
  const int items = static_cast<int>(items_of(model).size());
  const int stages = stages_of(strategy);
  std::vector<Chunk> chunks;
  for (int s = 0; s < stages; ++s) {
    chunks.push_back({s * items / stages, (s + 1) * items / stages - 1, strategy.recompute});
  }
  plan.stages = stages_from(strategy, chunks);
  return plan;
}

struct SmallRun {
  int steps = 1;
  OptimizerOptions optimizer;
  int threads = 1;  // of each rank
  LossWeights weights = {};
};

struct Trained {
  std::vector<double> loss, grad_norm, mtp_loss, aux_loss;
  std::map<int, std::vector<float>> biases;  // of experts by layer, after the last step
  // Step 0's whole gradients by Hugging Face name; elements that no rank holds stay NaN.
  std::map<std::string, std::vector<float>> gradients;
  std::map<std::string, WeightPiece> pieces;  // one of each tensor
  std::string error;                          // "" = none
};

inline void add_gradients(Trainer& trainer, Trained& all) {
  for (Bucket& bucket : trainer.buckets().all()) {
    const float* share = trainer.buckets().gradient_share(bucket);
    for (const BucketWeight& w : bucket.weights) {
      for (const WeightPiece& p : w.weight.pieces) {
        std::vector<float>& whole = all.gradients[p.name];
        all.pieces[p.name] = p;
        whole.resize(static_cast<std::size_t>(p.rows * p.columns),
                     std::numeric_limits<float>::quiet_NaN());
        for (std::int64_t r = 0; r < p.piece_rows; ++r) {
          for (std::int64_t c = 0; c < p.piece_columns; ++c) {
            const std::int64_t at = w.offset + p.offset + r * p.stride + c;
            if (at < bucket.first || at >= bucket.last) continue;
            whole[static_cast<std::size_t>((p.first_row + r) * p.columns + p.first_column + c)] =
                share[at - bucket.first];
          }
        }
      }
    }
  }
}

inline Status train_rank(const Plan& plan, const SmallRun& run, Communicator* world, Trained& all,
                         std::mutex& mutex) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(run.threads);
  const std::unique_ptr<Trainer> trainer = TRY(Trainer::make(plan, *backend, world, run.weights));
  trainer->initialise(1);
  const ReadTokens read = [&](std::int64_t step, std::int64_t row, std::span<std::int32_t> out) {
    fill(PortableRow{.seed = 1, .step = step, .row = row, .alphabet = plan.model.vocab}, out);
    return Status();
  };
  for (int step = 0; step < run.steps; ++step) {
    const StepMetrics metrics = TRY(trainer->step(step, read, run.optimizer));
    const std::lock_guard lock(mutex);
    if (step == 0) add_gradients(*trainer, all);
    for (int layer = 0; layer <= plan.model.layers; ++layer) {
      const Balance::Layer* const balance = trainer->rank().balance.of(layer);
      if (balance != nullptr) all.biases[layer] = balance->bias;
    }
    if (world != nullptr && world->rank() > 0) continue;
    all.loss.push_back(metrics.loss);
    all.grad_norm.push_back(metrics.grad_norm);
    all.mtp_loss.push_back(metrics.mtp_loss);
    all.aux_loss.push_back(metrics.aux_loss);
  }
  return {};
}

// Weights portable:1, tokens portable:1 over the model's vocabulary.
inline Trained train(const Plan& plan, const SmallRun& run = {}) {
  Trained all;
  std::mutex mutex;
  const int ranks = gpus_of(plan.strategy);
  if (ranks == 1) {
    const Status status = train_rank(plan, run, nullptr, all, mutex);
    if (!status) all.error = status.error().message;
    return all;
  }
  ThreadWorld world({.ranks = ranks});
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const std::unique_ptr<Communicator> mine = world.communicator(rank);
      const Status status = train_rank(plan, run, mine.get(), all, mutex);
      world.end(rank, status);
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!world.failure()) all.error = world.failure().error().message;
  return all;
}

inline double norm_of(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum);
}

// Whether the tensor's gradient is nothing but rounding: a key's bias without rotary positions
// moves all scores of a query alike.
inline bool is_nothing(const std::string& name, double norm, double whole) {
  return name.ends_with(".k_proj.bias") && norm < 1e-6 * whole;
}

// The largest ‖a - b‖ / ‖b‖ over tensors, and where; infinite where a tensor is missing or
// incomplete.
struct Difference {
  double relative = 0;
  std::string tensor;
};
inline Difference difference(const Trained& a, const Trained& b) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  Difference worst;
  if (a.gradients.empty()) return {kInfinite, "no gradients: " + a.error};
  for (const auto& [name, expected] : b.gradients) {
    const auto found = a.gradients.find(name);
    if (found == a.gradients.end() || found->second.size() != expected.size())
      return {kInfinite, name};
    std::vector<float> apart(expected.size());
    for (std::size_t i = 0; i < apart.size(); ++i) apart[i] = found->second[i] - expected[i];
    if (is_nothing(name, norm_of(expected), b.grad_norm.front()) &&
        norm_of(apart) < 1e-6 * b.grad_norm.front())
      continue;
    const double relative = norm_of(apart) / norm_of(expected);
    if (!(relative <= worst.relative)) worst = {relative, name};
    if (std::isnan(relative)) return {kInfinite, name};
  }
  return worst;
}

}  // namespace narrows::testing

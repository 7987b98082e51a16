// SPDX-License-Identifier: Apache-2.0
#include "runtime/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "base/text.h"
#include "comm/thread_comm.h"
#include "runtime/checkpoint.h"
#include "runtime/cpu_backend.h"
#include "runtime/supported.h"
#include "runtime/tensor_part.h"
#include "runtime/token_file.h"

namespace narrows {
namespace {

constexpr int kMostThreads = 16;

// A plan's only rank may use every processor; several ranks use one each.
int threads_of_rank(const Plan& plan) {
  if (gpus_of(plan.strategy) > 1) return 1;
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads);
}

Bytes bytes_of(Trainer& trainer) {
  double floats = 0;
  for (const Bucket& b : trainer.buckets().all()) {
    floats += static_cast<double>(b.value.size() + b.gradient.size() + b.first_moment.size() +
                                  b.second_moment.size());
  }
  return floats * 4 * byte + trainer.pool().peak();
}

Status load(Trainer& trainer, const std::string& init) {
  constexpr std::string_view kPortable = "portable:";
  if (init.starts_with(kPortable)) {
    const Result<double> seed = parse_number(init.substr(kPortable.size()));
    if (!seed || *seed < 0) return invalid(fmt::format("{}: expected portable:SEED", init));
    trainer.initialise(static_cast<std::uint64_t>(*seed));
    return {};
  }
  if (trainer.rank().strategy().zero == 3) {
    return unsupported(fmt::format("{}: weights from a file are not read under ZeRO 3 yet", init));
  }
  std::vector<TensorPart> parts;
  for (Bucket& bucket : trainer.buckets().all()) {
    for (const BucketWeight& w : bucket.weights) {
      for (const WeightPiece& piece : w.weight.pieces) {
        const WeightMemory memory{bucket.value.data() + w.offset, TensorType::F32, 0,
                                  w.weight.count};
        for (TensorPart& part : parts_of(piece, memory)) parts.push_back(std::move(part));
      }
    }
  }
  return load_weights(init, parts);
}

// All ranks of one training, as threads.
class Job {
 public:
  Job(const Plan& plan, const TrainingOptions& options, const TokenSource& data,
      const OnStep& on_step)
      : plan_(plan), options_(options), data_(data), on_step_(on_step) {}

  Result<TrainingResult> run() {
    const int ranks = gpus_of(plan_.strategy);
    result_.timeline.ranks = ranks;
    if (ranks == 1) {
      TRY(train(nullptr));
      return std::move(result_);
    }
    ThreadWorld world({.ranks = ranks});
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, rank] {
        const std::unique_ptr<Communicator> mine = world.communicator(rank);
        world.end(rank, train(mine.get()));
      });
    }
    for (std::thread& thread : threads) thread.join();
    TRY(world.failure());
    sort_timeline();
    return std::move(result_);
  }

 private:
  Status train(Communicator* world) {
    const std::unique_ptr<Backend> backend = make_cpu_backend(threads_of_rank(plan_));
    const std::unique_ptr<Trainer> trainer =
        TRY(Trainer::make(plan_, options_.numerics, *backend, world));
    TRY(load(*trainer, options_.init));
    Timeline timeline;
    if (options_.trace) trainer->executor().record(&timeline);
    const ReadTokens read = [this](std::int64_t step, std::int64_t row,
                                   std::span<std::int32_t> tokens) {
      return data_.read(step, row, tokens);
    };
    for (std::int64_t step = 0; step < options_.steps; ++step) {
      const StepMetrics metrics = TRY(trainer->step(step, read, options_.optimizer));
      if (world == nullptr || world->rank() == 0) TRY(on_step_(metrics));
      if (TRY(should_stop(world))) break;
    }
    merge(*trainer, timeline);
    return {};
  }
  // All ranks stop after the same step.
  Result<bool> should_stop(Communicator* world) {
    if (options_.stop == nullptr) return false;
    std::vector<float> wanted = {options_.stop->load() ? 1.0f : 0.0f};
    if (world != nullptr) TRY(world->all_reduce(wanted, Reduction::Max));
    return wanted.front() > 0;
  }
  void merge(Trainer& trainer, const Timeline& timeline) {
    const std::lock_guard lock(mutex_);
    Timeline& all = result_.timeline;
    all.spans.insert(all.spans.end(), timeline.spans.begin(), timeline.spans.end());
    all.memory.insert(all.memory.end(), timeline.memory.begin(), timeline.memory.end());
    result_.memory_peak = max(result_.memory_peak, bytes_of(trainer));
    result_.stopped = options_.stop != nullptr && options_.stop->load();
  }
  void sort_timeline() {
    Timeline& all = result_.timeline;
    std::stable_sort(all.spans.begin(), all.spans.end(),
                     [](const TimeSpan& a, const TimeSpan& b) { return a.rank < b.rank; });
    std::stable_sort(all.memory.begin(), all.memory.end(),
                     [](const MemorySample& a, const MemorySample& b) { return a.rank < b.rank; });
  }

  const Plan& plan_;
  const TrainingOptions& options_;
  const TokenSource& data_;
  const OnStep& on_step_;
  std::mutex mutex_;
  TrainingResult result_;
};

// Times count from the first instruction.
void begin_at_zero(Timeline& timeline) {
  if (timeline.spans.empty()) return;
  Tick first = timeline.spans.front().start;
  for (const TimeSpan& span : timeline.spans) first = std::min(first, span.start);
  for (TimeSpan& span : timeline.spans) {
    span.start -= first;
    span.end -= first;
  }
  for (MemorySample& sample : timeline.memory) sample.at -= first;
}

}  // namespace

Result<TrainingResult> run_training(const Plan& plan, const TrainingOptions& options,
                                    const OnStep& on_step) {
  TRY(check_supported(plan));
  const TokenSource data = TRY(TokenSource::open({.source = options.data,
                                                  .sequence = plan.training.sequence,
                                                  .global_batch = plan.training.global_batch,
                                                  .vocabulary = plan.model.vocab,
                                                  .seed = options.seed}));
  TrainingResult result = TRY(Job(plan, options, data, on_step).run());
  begin_at_zero(result.timeline);
  return result;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/text.h"
#include "runtime/calibration.h"
#include "runtime/checkpoint.h"
#include "runtime/cpu_backend.h"
#include "runtime/supported.h"
#include "runtime/tensor_part.h"
#include "runtime/token_file.h"
#include "runtime/trainer_state.h"
#include "runtime/world.h"

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
                                  b.second_moment.size()) +
              static_cast<double>(b.first_moment_bf16.size() + b.second_moment_bf16.size()) / 2;
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
  return load_weights(init, parts_to_load(trainer).weights);
}

bool is_same_folder(const std::string& a, const std::string& b) {
  std::error_code error;
  return a == b || std::filesystem::equivalent(a, b, error);
}

Result<std::vector<LinkLevel>> levels_of(const Cluster& cluster,
                                         const std::vector<std::string>& slow) {
  std::vector<LinkLevel> levels;
  for (const Level& level : cluster.levels) levels.push_back({level.name, level.group, {}, {}});
  for (const std::string& one : slow) TRY(emulate_link(one, levels));
  return levels;
}

// All ranks of one training.
class Job {
 public:
  Job(const Plan& plan, const TrainingOptions& options, const TokenSource& data,
      const OnStep& on_step)
      : plan_(plan), options_(options), data_(data), on_step_(on_step) {}

  Result<TrainingResult> run(const OnBroken& on_broken) {
    const int ranks = gpus_of(plan_.strategy);
    result_.timeline.ranks = ranks;
    const std::vector<LinkLevel> levels = TRY(levels_of(plan_.cluster, options_.slow_links));
    const WorldEnd end = run_world({.ranks = ranks, .levels = levels},
                                   [this](Communicator& world) { return train(world); });
    if (end.is_broken) on_broken(end.status.error(), end.speaks);
    TRY(end.status);
    sort_timeline();
    return std::move(result_);
  }

 private:
  Status train(Communicator& world) {
    const std::unique_ptr<Backend> backend = make_cpu_backend(threads_of_rank(plan_));
    const std::unique_ptr<Trainer> trainer = TRY(
        Trainer::make(plan_, *backend, world.size() > 1 ? &world : nullptr, options_.loss_weights));
    const std::int64_t first = TRY(begin(*trainer, world));
    Timeline timeline;
    if (options_.trace) trainer->executor().record(&timeline);
    const ReadTokens read = [&](std::int64_t step, std::int64_t row,
                                std::span<std::int32_t> tokens) {
      world.alive();
      return data_.read(step, row, tokens);
    };
    Calibration calibration(*backend);
    Seconds before = TRY(calibrated(calibration, world));
    for (std::int64_t step = first; step < options_.steps; ++step) {
      StepMetrics metrics = TRY(trainer->step(step, read, options_.optimizer));
      const Seconds after = TRY(calibrated(calibration, world));
      metrics.calibration = 0.5 * (before + after);
      before = after;
      if (world.rank() == 0) TRY(on_step_(metrics));
      const bool stops = TRY(should_stop(world));
      TRY(save(*trainer, step + 1, stops, world));
      if (stops) break;
    }
    return merge(*trainer, timeline, world);
  }
  // Of all ranks, the mean.
  Result<Seconds> calibrated(Calibration& calibration, Communicator& world) const {
    if (!options_.calibrate) return Seconds();
    constexpr int kRuns = 6;  // a third of a millisecond: nothing beside a step
    std::array<double, 1> sum = {calibration.time(kRuns) / sec};
    TRY(world.all_reduce(std::span<double>(sum)));
    return sum.front() / world.size() * sec;
  }
  TrainingState state_at(std::int64_t step) const {
    return {step, fingerprint_of(plan_.model), data_.fingerprint(),
            oldest_checkpoint_of(plan_.model)};
  }
  // The weights to begin with; the first step.
  Result<std::int64_t> begin(Trainer& trainer, Communicator& world) {
    const std::string& folder = options_.checkpoint.folder;
    if (!folder.empty()) {
      TRY(prepare_checkpoints(options_.checkpoint, is_same_folder(folder, options_.resume), world));
    }
    const std::int64_t first = TRY(first_step(options_));
    if (options_.resume.empty() || first == 0) {
      TRY(load(trainer, options_.init));
      return 0;
    }
    return TRY(load_checkpoint(options_.resume, state_at(0), parts_to_load(trainer), world)).step;
  }
  Status save(Trainer& trainer, std::int64_t done, bool stops, Communicator& world) {
    if (options_.checkpoint.folder.empty()) return {};
    const bool is_due = done % options_.checkpoint_every == 0 || done == options_.steps || stops;
    if (!is_due) return {};
    return save_checkpoint(options_.checkpoint, state_at(done), parts_to_save(trainer), world);
  }
  // All ranks stop after the same step.
  Result<bool> should_stop(Communicator& world) {
    if (options_.stop == nullptr) return false;
    std::vector<float> wanted = {options_.stop->load() ? 1.0f : 0.0f};
    TRY(world.all_reduce(wanted, Reduction::Max));
    return wanted.front() > 0;
  }
  Status merge(Trainer& trainer, const Timeline& timeline, Communicator& world) {
    std::vector<double> fullest = {bytes_of(trainer) / byte};
    TRY(world.all_reduce(fullest, Reduction::Max));
    const std::lock_guard lock(mutex_);
    append(timeline);
    ++result_.ranks;
    for (const OpTotal& total : trainer.log().totals()) add_to(result_.ops, total);
    result_.memory_peak = fullest.front() * byte;
    result_.stopped = options_.stop != nullptr && options_.stop->load();
    return {};
  }
  void append(const Timeline& timeline) {
    Timeline& all = result_.timeline;
    all.spans.insert(all.spans.end(), timeline.spans.begin(), timeline.spans.end());
    all.memory.insert(all.memory.end(), timeline.memory.begin(), timeline.memory.end());
    const int labels = static_cast<int>(all.op_labels.size());
    all.op_labels.insert(all.op_labels.end(), timeline.op_labels.begin(), timeline.op_labels.end());
    for (OpSpan span : timeline.ops) {
      span.label += labels;
      all.ops.push_back(span);
    }
  }
  void sort_timeline() {
    Timeline& all = result_.timeline;
    sort_by_time(result_.ops);
    std::stable_sort(all.ops.begin(), all.ops.end(),
                     [](const OpSpan& a, const OpSpan& b) { return a.rank < b.rank; });
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

// Times count from the first that was recorded.
void begin_at_zero(Timeline& timeline) {
  if (timeline.spans.empty()) return;
  Tick first = timeline.spans.front().start;
  for (const TimeSpan& span : timeline.spans) first = std::min(first, span.start);
  for (const OpSpan& op : timeline.ops) first = std::min(first, op.start);
  for (TimeSpan& span : timeline.spans) {
    span.start -= first;
    span.end -= first;
  }
  for (OpSpan& op : timeline.ops) {
    op.start -= first;
    op.end -= first;
  }
  for (MemorySample& sample : timeline.memory) sample.at -= first;
}

}  // namespace

Result<std::int64_t> first_step(const TrainingOptions& options) {
  if (options.resume.empty()) return 0;
  const Result<TrainingState> state = newest_state(options.resume);
  if (state) return state->step;
  const bool is_beginning = state.error().code == ErrorCode::NotFound &&
                            is_same_folder(options.checkpoint.folder, options.resume);
  if (is_beginning) return 0;
  return tl::unexpected<Error>(state.error());
}

Result<TrainingResult> run_training(const Plan& plan, const TrainingOptions& options,
                                    const OnStep& on_step, const OnBroken& on_broken) {
  TRY(check_supported(plan));
  const TokenSource data = TRY(TokenSource::open({.source = options.data,
                                                  .sequence = plan.training.sequence,
                                                  .global_batch = plan.training.global_batch,
                                                  .vocabulary = plan.model.vocab,
                                                  .seed = options.seed}));
  TrainingResult result = TRY(Job(plan, options, data, on_step).run(on_broken));
  begin_at_zero(result.timeline);
  return result;
}

}  // namespace narrows

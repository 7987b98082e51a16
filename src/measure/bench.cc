// SPDX-License-Identifier: Apache-2.0
#include "measure/bench.h"

#include <algorithm>
#include <array>

namespace narrows {
namespace {

constexpr double kMostRepeats = 1e5;
constexpr double kPreempted = 1.05;  // wall time over the time that the rank had a processor

// What the first rank tells the others to do.
struct Order {
  int task = -1;  // -1 = the end
  int repeats = 0;
};

class Bench {
 public:
  Bench(std::span<const BenchTask> tasks, const BenchSite& site, const BenchOptions& options)
      : tasks_(tasks), site_(site), options_(options) {}

  Result<MachinePace> lead() {
    std::vector<int> groups;
    for (const BenchTask& task : tasks_) groups.push_back(task.group);
    Sampler sampler(static_cast<int>(tasks_.size()), options_.rules, options_.seed, groups);
    std::vector<int> repeats(tasks_.size(), 0);
    const Seconds start = site_.now();
    for (;;) {
      const std::optional<int> task = stopped() ? std::nullopt : sampler.next(site_.now() - start);
      if (!task) break;
      int& times = repeats[static_cast<std::size_t>(*task)];
      if (times == 0) {
        const Sample first = TRY(play({*task, 0}));
        const double fit = options_.shortest / max(first.time, 1e-9 * sec);
        times = static_cast<int>(std::clamp(fit, 1.0, kMostRepeats));
      }
      sampler.add(*task, TRY(play({*task, times})));
      if (sampler.is_finished(*task)) TRY(tell(*task, sampler));
      if (options_.progress) {
        options_.progress({static_cast<int>(tasks_.size()), sampler.finished(), site_.now() - start,
                           options_.rules.budget});
      }
    }
    TRY(send({}));
    for (int task = 0; task < std::ssize(tasks_); ++task) {
      if (!sampler.is_finished(task) && sampler.has_samples(task)) TRY(tell(task, sampler));
    }
    const Pace pace = sampler.pace();
    return MachinePace{pace.calibration, pace.calibrations, TRY(slowest())};
  }

  Result<MachinePace> follow() {
    for (;;) {
      const Order order = TRY(receive());
      if (order.task < 0) {
        TRY(slowest());
        return MachinePace();
      }
      TRY(run(order));
    }
  }

 private:
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }

  Status tell(int task, const Sampler& sampler) {
    if (!options_.result) return {};
    return options_.result(task, sampler.summary(task));
  }

  Status send(Order order) {
    if (site_.world == nullptr) return {};
    std::array<std::int32_t, 2> words = {order.task, order.repeats};
    return site_.world->broadcast(std::span<std::int32_t>(words), 0);
  }
  Result<Order> receive() {
    std::array<std::int32_t, 2> words{};
    TRY(site_.world->broadcast(std::span<std::int32_t>(words), 0));
    return Order{words[0], words[1]};
  }
  Result<Sample> play(Order order) {
    TRY(send(order));
    return run(order);
  }

  // No repeats: once to warm up, and once for its length. A collective is used in a row of its
  // like: what the tasks before it displaced comes back untimed.
  Result<Sample> run(Order order) {
    const BenchTask& task = tasks_[static_cast<std::size_t>(order.task)];
    if (order.repeats == 0 || task.is_collective) TRY(task.run());
    const int times = std::max(order.repeats, 1);
    Sample sample{{}, site_.calibrate ? site_.calibrate() : Seconds()};
    if (site_.world != nullptr) TRY(site_.world->barrier());
    const Seconds was_busy = site_.busy ? site_.busy() : Seconds();
    const Seconds at = site_.now();
    for (int i = 0; i < times; ++i) TRY(task.run());
    const Seconds taken = site_.now() - at;
    sample.time = taken / times;
    if (site_.busy && !task.is_collective)
      sample.preempted = taken > kPreempted * (site_.busy() - was_busy);
    return over_ranks(sample, task.is_collective);
  }

  // The mean of an op's times, the largest of a collective's; the mean calibration.
  Result<Sample> over_ranks(Sample mine, bool is_collective) {
    if (site_.world == nullptr) return mine;
    calibrations_.push_back(mine.calibration / sec);
    std::array<double, 2> sum = {mine.time / sec, mine.calibration / sec};
    std::array<double, 2> most = {mine.time / sec, mine.preempted ? 1.0 : 0.0};
    TRY(site_.world->all_reduce(std::span<double>(sum)));
    TRY(site_.world->all_reduce(std::span<double>(most), Reduction::Max));
    const double ranks = site_.world->size();
    const double time = is_collective ? most[0] : sum[0] / ranks;
    return Sample{time * sec, sum[1] / ranks * sec, most[1] > 0};
  }

  // Mean over windows of the slowest rank's calibrations there, over all ranks'.
  Result<double> slowest() {
    const std::size_t windows = calibrations_.size() / kWindow;
    if (site_.world == nullptr || windows == 0) return 1.0;
    std::vector<double> mine(windows, 0.0);
    for (std::size_t i = 0; i < windows * kWindow; ++i) mine[i / kWindow] += calibrations_[i];
    std::vector<double> sum = mine;
    TRY(site_.world->all_reduce(std::span<double>(sum)));
    TRY(site_.world->all_reduce(std::span<double>(mine), Reduction::Max));
    double over = 0;
    for (std::size_t w = 0; w < windows; ++w) over += mine[w] * site_.world->size() / sum[w];
    return over / static_cast<double>(windows);
  }

  // Samples that follow each other, for about as long as a short training step.
  static constexpr std::size_t kWindow = 48;

  std::span<const BenchTask> tasks_;
  const BenchSite& site_;
  const BenchOptions& options_;
  std::vector<double> calibrations_;  // this rank's, seconds
};

}  // namespace

Result<MachinePace> time_tasks(std::span<const BenchTask> tasks, const BenchSite& site,
                               const BenchOptions& options) {
  Bench bench(tasks, site, options);
  const bool leads = site.world == nullptr || site.world->rank() == 0;
  return leads ? bench.lead() : bench.follow();
}

}  // namespace narrows

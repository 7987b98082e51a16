// SPDX-License-Identifier: Apache-2.0
#include "measure/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/result.h"

namespace narrows {
namespace {

// The value at a share of a sorted list, between neighbours in proportion.
double at_share(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const std::size_t below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// Half of the 95 % interval of the mean of so many values (Student's t, a little wide).
double interval_of_mean(const std::vector<double>& values, double mean) {
  const double n = static_cast<double>(values.size());
  if (n < 2) return mean;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  const double t = 2 + 3 / (n - 1);
  return t * std::sqrt(squares / (n - 1) / n);
}

// Those that count: neither preempted nor far beyond the median.
std::vector<Sample> uninterrupted(std::span<const Sample> samples) {
  constexpr double kInterruption = 3;  // times the median
  std::vector<Sample> used;
  for (const Sample& s : samples) {
    if (!s.preempted) used.push_back(s);
  }
  if (used.empty()) used.assign(samples.begin(), samples.end());
  std::sort(used.begin(), used.end(),
            [](const Sample& a, const Sample& b) { return a.time < b.time; });
  const Seconds most = kInterruption * used[used.size() / 2].time;
  while (used.back().time > most) used.pop_back();
  return used;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

}  // namespace

SampleSummary summarise(std::span<const Sample> samples, const Pace& pace, double slope) {
  ASSERT(!samples.empty());
  const std::vector<Sample> used = uninterrupted(samples);
  const bool is_known = pace.calibration > Seconds();
  std::vector<double> times, slowness;  // over the usual pace
  for (const Sample& s : used) {
    times.push_back(s.time / sec);
    slowness.push_back(is_known ? s.calibration / pace.calibration - 1 : 0);
  }
  const double mean = mean_of(times), slow = mean_of(slowness);
  std::vector<double> at_pace;
  for (std::size_t i = 0; i < used.size(); ++i)
    at_pace.push_back(times[i] - slope * (slowness[i] - slow) * mean);
  // A line is a line only near where it was drawn.
  const double correction = std::clamp(1 + slope * slow, 0.5, 2.0);
  SampleSummary summary;
  summary.mean = mean / correction * sec;
  summary.p10 = at_share(times, 0.1) * sec;
  summary.p90 = at_share(times, 0.9) * sec;
  summary.samples = static_cast<int>(used.size());
  summary.interrupted = static_cast<int>(samples.size() - used.size());
  summary.half_width = interval_of_mean(at_pace, mean) / std::max(mean, 1e-12);
  return summary;
}

Pace pace_of(std::span<const std::vector<Sample>> tasks) {
  Pace pace;
  double sum = 0;
  for (const std::vector<Sample>& samples : tasks) {
    for (const Sample& s : samples) {
      sum += s.calibration / sec;
      pace.calibrations += s.calibration > Seconds();
    }
  }
  if (pace.calibrations == 0) return pace;
  const double usual = sum / pace.calibrations;
  pace.calibration = usual * sec;
  return pace;
}

// Least squares through each task's own mean, all tasks with one slope.
double slope_of(std::span<const std::vector<Sample>> tasks, const Pace& pace) {
  constexpr double kMost = 3;
  if (!(pace.calibration > Seconds())) return 0;
  double products = 0, squares = 0;
  for (const std::vector<Sample>& samples : tasks) {
    if (samples.size() < 2) continue;
    const std::vector<Sample> used = uninterrupted(samples);
    std::vector<double> times, slowness;
    for (const Sample& s : used) {
      times.push_back(s.time / sec);
      slowness.push_back(s.calibration / pace.calibration - 1);
    }
    const double time = mean_of(times), slow = mean_of(slowness);
    for (std::size_t i = 0; i < used.size(); ++i) {
      products += (slowness[i] - slow) * (times[i] / time - 1);
      squares += (slowness[i] - slow) * (slowness[i] - slow);
    }
  }
  return squares > 0 ? std::clamp(products / squares, 0.0, kMost) : 0;
}

Sampler::Sampler(int tasks, const SampleRules& rules, std::uint64_t seed, std::vector<int> groups)
    : rules_(rules),
      random_(seed),
      samples_(index(tasks)),
      finished_(index(tasks), false),
      groups_(std::move(groups)) {
  groups_.resize(index(tasks), 0);
}

void Sampler::begin_round() {
  for (int i = 0; i < std::ssize(samples_); ++i) {
    if (!finished_[index(i)]) round_.push_back(i);
  }
  for (std::size_t i = round_.size(); i > 1; --i) {
    std::swap(round_[i - 1], round_[static_cast<std::size_t>(random_.below(i))]);
  }
  if (visited_ > 0) return;
  std::stable_partition(round_.begin(), round_.end(),
                        [&](int task) { return task >= rules_.first; });
}

std::optional<int> Sampler::next(Seconds elapsed) {
  const std::ptrdiff_t owed = rules_.once_at_least ? std::ssize(samples_) : rules_.first;
  const bool owes = visited_ < owed;
  if (elapsed >= rules_.budget && !owes) return std::nullopt;
  while (!round_.empty() && finished_[index(round_.back())]) round_.pop_back();
  if (round_.empty()) begin_round();
  if (round_.empty()) return std::nullopt;
  const int task = round_.back();
  round_.pop_back();
  ++visited_;
  return task;
}

void Sampler::add(int task, Sample sample) {
  std::vector<Sample>& samples = samples_[index(task)];
  samples.push_back(sample);
  ++added_;
  update_pace();
  const SampleSummary s = summary(task);
  finished_[index(task)] = std::ssize(samples) >= rules_.most ||
                           (s.samples >= rules_.least && s.half_width <= rules_.half_width);
}

// Found anew whenever there are a sixteenth more of them.
void Sampler::update_pace() {
  if (added_ <= known_ + known_ / 16) return;
  known_ = added_;
  pace_ = pace_of(samples_);
  std::map<int, std::vector<std::vector<Sample>>> groups;
  for (std::size_t task = 0; task < samples_.size(); ++task)
    groups[groups_[task]].push_back(samples_[task]);
  for (const auto& [group, tasks] : groups) slopes_[group] = slope_of(tasks, pace_);
}

double Sampler::slope(int task) const {
  const auto found = slopes_.find(groups_[index(task)]);
  return found == slopes_.end() ? 0 : found->second;
}

void Sampler::give_up(int task) { finished_[index(task)] = true; }

int Sampler::finished() const {
  return static_cast<int>(std::count(finished_.begin(), finished_.end(), true));
}

SampleSummary Sampler::summary(int task) const {
  return summarise(samples_[index(task)], pace_, slope(task));
}

}  // namespace narrows

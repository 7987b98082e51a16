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

// Half of the distance between the order statistics that hold the median with 95 %.
double interval_of_median(const std::vector<double>& sorted) {
  const double n = static_cast<double>(sorted.size());
  const double reach = 1.96 * std::sqrt(n);
  const std::int64_t last = std::ssize(sorted) - 1;
  const auto low = std::clamp<std::int64_t>(static_cast<std::int64_t>((n - reach) / 2), 0, last);
  const auto high =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil((n + reach) / 2)), 0, last);
  return 0.5 * (sorted[static_cast<std::size_t>(high)] - sorted[static_cast<std::size_t>(low)]);
}

}  // namespace

SampleSummary summarise(std::span<const Sample> samples, Seconds usual, const SampleRules& rules) {
  ASSERT(!samples.empty());
  std::vector<double> quiet, corrected;
  for (const Sample& s : samples) {
    const double slow = usual > Seconds() ? std::max(1.0, s.calibration / usual) : 1;
    if (slow <= rules.quiet) quiet.push_back(s.time / sec);
    corrected.push_back(s.time / sec / slow);
  }
  const bool enough = std::ssize(quiet) >= std::min<std::ptrdiff_t>(rules.least, 3);
  std::vector<double>& used = enough ? quiet : corrected;
  std::sort(used.begin(), used.end());
  SampleSummary summary;
  summary.median = at_share(used, 0.5) * sec;
  summary.p10 = at_share(used, 0.1) * sec;
  summary.p90 = at_share(used, 0.9) * sec;
  summary.samples = static_cast<int>(used.size());
  summary.disturbed = static_cast<int>(samples.size() - quiet.size());
  summary.half_width = interval_of_median(used) / std::max(at_share(used, 0.5), 1e-12);
  return summary;
}

Sampler::Sampler(int tasks, const SampleRules& rules, std::uint64_t seed)
    : rules_(rules), random_(seed), samples_(index(tasks)), finished_(index(tasks), false) {}

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
  if (sample.calibration > Seconds()) calibrations_.push_back(sample.calibration / sec);
  update_usual();
  const SampleSummary s = summary(task);
  const int quiet = static_cast<int>(samples.size()) - s.disturbed;
  finished_[index(task)] = std::ssize(samples) >= rules_.most ||
                           (quiet >= rules_.least && s.half_width <= rules_.half_width);
}

// Found anew whenever there are a sixteenth more of them.
void Sampler::update_usual() {
  if (calibrations_.size() <= known_ + known_ / 16) return;
  known_ = calibrations_.size();
  std::vector<double> sorted = calibrations_;
  std::sort(sorted.begin(), sorted.end());
  usual_ = at_share(sorted, 0.25) * sec;
}

void Sampler::give_up(int task) { finished_[index(task)] = true; }

int Sampler::finished() const {
  return static_cast<int>(std::count(finished_.begin(), finished_.end(), true));
}

SampleSummary Sampler::summary(int task) const {
  return summarise(samples_[index(task)], usual_, rules_);
}

}  // namespace narrows

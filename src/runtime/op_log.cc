// SPDX-License-Identifier: Apache-2.0
#include "runtime/op_log.h"

#include <chrono>
#include <utility>

namespace narrows {

OpLog::OpLog() {
  const char* const names[] = {"read tokens",       "receive",         "gather weights",
                               "scatter gradients", "clear gradients", "reduce gradients",
                               "gradient norm",     "update weights",  "send weights"};
  for (const char* name : names) add({.name = name, .kind = "step"});
}

int OpLog::add(OpLabel label) {
  labels_.push_back(std::move(label));
  totals_.emplace_back();
  return static_cast<int>(labels_.size()) - 1;
}

void OpLog::ran(int label, std::int64_t rows, Tick start, Tick end) {
  OpTotal& total = totals_[static_cast<std::size_t>(label)];
  ++total.runs;
  total.rows += static_cast<double>(rows);
  total.time += end - start;
  if (timeline_ != nullptr) timeline_->ops.push_back({rank_, label, rows, start, end});
}

void OpLog::ran_part(int label, std::int64_t rows, Tick start, Tick end) {
  totals_[static_cast<std::size_t>(label)].time += end - start;
  if (timeline_ != nullptr) timeline_->ops.push_back({rank_, label, rows, start, end});
}

void OpLog::record(Timeline* timeline, int rank) {
  timeline_ = timeline;
  rank_ = rank;
  if (timeline != nullptr) timeline->op_labels = labels_;
}

std::vector<OpTotal> OpLog::totals() const {
  std::vector<OpTotal> all;
  for (std::size_t i = 0; i < totals_.size(); ++i) {
    OpTotal total = totals_[i];
    total.label = labels_[i];
    if (total.runs > 0) add_to(all, total);
  }
  sort_by_time(all);
  return all;
}

Tick clock_now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return Tick{std::chrono::duration_cast<std::chrono::nanoseconds>(time).count()};
}

OpTimer::OpTimer(OpLog* log, int label, std::int64_t rows) : log_(log), label_(label), rows_(rows) {
  if (log == nullptr) return;
  outer_ = log->open_;
  log->open_ = this;
  start_ = clock_now();
}

OpTimer::~OpTimer() {
  if (log_ == nullptr) return;
  log_->ran(label_, rows_, start_, clock_now());
  log_->open_ = outer_;
}

OpPause::OpPause(OpLog* log) : log_(log), paused_(log == nullptr ? nullptr : log->open_) {
  if (paused_ == nullptr) return;
  log_->ran_part(paused_->label_, paused_->rows_, paused_->start_, clock_now());
  log_->open_ = nullptr;
}

OpPause::~OpPause() {
  if (paused_ == nullptr) return;
  log_->open_ = paused_;
  paused_->start_ = clock_now();
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/strands.h"

namespace narrows {

Strands::~Strands() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  turned_.notify_all();
  thread_.join();
}

void Strands::run(const Piece& first, const Piece& second) {
  if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
  {
    const std::lock_guard lock(mutex_);
    second_ = &second;
    done_[0] = done_[1] = false;
    turn_ = 0;
    running_ = true;
  }
  first();
  std::unique_lock lock(mutex_);
  finish(lock);
  turned_.wait(lock, [this] { return done_[1]; });
  running_ = false;
}

void Strands::yield() {
  if (!running_) return;
  std::unique_lock lock(mutex_);
  const int mine = turn_;
  if (done_[1 - mine]) return;
  turn_ = 1 - mine;
  turned_.notify_all();
  turned_.wait(lock, [&] { return turn_ == mine; });
}

void Strands::finish(const std::unique_lock<std::mutex>&) {
  done_[turn_] = true;
  turn_ = 1 - turn_;
  turned_.notify_all();
}

void Strands::serve() {
  adopt_();
  std::unique_lock lock(mutex_);
  for (;;) {
    turned_.wait(lock, [this] { return stop_ || (second_ != nullptr && turn_ == 1); });
    if (stop_) return;
    const Piece& piece = *second_;
    second_ = nullptr;
    lock.unlock();
    piece();
    lock.lock();
    finish(lock);
  }
}

}  // namespace narrows

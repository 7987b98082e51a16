// SPDX-License-Identifier: Apache-2.0
#include "comm/progress.h"

#include <algorithm>

#include "comm/operation.h"

namespace narrows {

CommProgress::~CommProgress() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  if (background_.joinable()) background_.join();
}

bool CommProgress::start(Operation& operation) {
  const std::lock_guard<std::mutex> lock(mutex_);
  operation.scratch.resize(static_cast<std::size_t>(operation.program.scratch) *
                           size_of(operation.element));
  operation.advance();
  if (!operation.finished) open_.push_back(&operation);
  return operation.finished;
}

void CommProgress::leave_to_background() {
  if (!background_.joinable()) background_ = std::thread([this] { run_background(); });
  work_.notify_one();
}

bool CommProgress::advance_all() {
  bool moved = false;
  for (Operation* operation : open_) moved = operation->advance() || moved;
  std::erase_if(open_, [](const Operation* operation) { return operation->finished; });
  return moved;
}

bool CommProgress::done(Operation& operation) {
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;
  advance_all();
  if (!operation.finished) check(operation, true);
  return operation.finished;
}

// Under the lock. After a failure all open verbs end. A peer's last deeds come before its end, but
// may have come after our last look: only if there is nothing left of them is it to blame.
void CommProgress::check(Operation& operation, bool is_owner) {
  const Status health = operation.group->health(operation, is_owner);
  if (health || advance_all()) return;
  const Error error = operation.group->fail(health.error());
  for (Operation* open : open_) {
    if (!open->finished) open->fail(error);
  }
  open_.clear();
}

void CommProgress::wait(Operation& operation) {
  bool more = false;
  for (int spins = 0;; ++spins) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      owner_waits_ = true;
      if (advance_all()) spins = 0;
      if (!operation.finished) check(operation, true);
      if (operation.finished) {
        owner_waits_ = false;
        more = !open_.empty();
        break;
      }
    }
    idle_(spins, true);
  }
  if (more) work_.notify_one();
}

void CommProgress::run_background() {
  for (int spins = 0;; ++spins) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      work_.wait(lock, [this] { return stop_ || (!open_.empty() && !owner_waits_); });
      if (stop_) return;
      if (advance_all()) spins = 0;
      if (!open_.empty()) check(*open_.front(), false);
      if (open_.empty()) continue;
    }
    idle_(spins, false);
  }
}

}  // namespace narrows

// Moves the started verbs of one rank on: the rank's own thread while it waits, and a thread of the
// background while the rank computes. The background thread begins with the first verb that is
// started and not yet waited for, and sleeps while there is none.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/communicator.h"

namespace narrows {

class CommProgress {
 public:
  // `idle` sleeps until a peer may have moved something of this rank, at most about a millisecond;
  // its arguments: the calls since something moved, and whether the owner calls. It is called from
  // both threads and must outlive this.
  using Idle = std::function<void(int spins, bool is_owner)>;
  explicit CommProgress(Idle idle) : idle_(std::move(idle)) {}

  CommProgress(const CommProgress&) = delete;
  CommProgress& operator=(const CommProgress&) = delete;
  ~CommProgress();  // no verb may be open

  // Takes up the verb (borrowed until it is finished) and moves it once; whether it is finished.
  bool start(Operation& operation);
  // Tells the background thread that the owner goes off to compute.
  void leave_to_background();
  bool done(Operation& operation);
  void wait(Operation& operation);
  // Runs `action` while no verb is being moved.
  template <typename Action>
  void exclusively(Action action) {
    const std::lock_guard<std::mutex> lock(mutex_);
    action();
  }

 private:
  bool advance_all();  // under the lock; whether anything moved
  void check(Operation& operation, bool is_owner);
  void run_background();

  Idle idle_;
  std::mutex mutex_;
  std::vector<Operation*> open_;
  std::condition_variable work_;
  bool stop_ = false;
  bool owner_waits_ = false;
  std::thread background_;
};

}  // namespace narrows

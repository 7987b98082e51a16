// Two pieces of a rank's work that take turns, so that what one has sent travels while the other
// computes: the forward and the backward of a pair. One runs at a time; the turn passes only where
// the one that has it says so, so that every rank of a group meets its collectives in one order.
//
// The second piece has a thread of its own, since each needs a stack; it never runs beside the
// first.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace narrows {

class Strands {
 public:
  using Piece = std::function<void()>;

  // `adopt` is called once on the second thread before anything else.
  explicit Strands(Piece adopt) : adopt_(std::move(adopt)) {}
  Strands(const Strands&) = delete;
  Strands& operator=(const Strands&) = delete;
  ~Strands();

  // Both to their ends. `first` begins.
  void run(const Piece& first, const Piece& second);
  // Within a piece: the other one's turn, until it yields or ends. Outside of `run` nothing.
  void yield();
  bool is_running() const { return running_; }

 private:
  void serve();                                           // the second thread
  void finish(const std::unique_lock<std::mutex>& held);  // of the piece whose turn it is

  Piece adopt_;
  std::mutex mutex_;
  std::condition_variable turned_;
  const Piece* second_ = nullptr;  // borrows, while it is to be run
  int turn_ = 0;
  bool done_[2] = {true, true};
  bool running_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace narrows

// What the ranks of a ThreadWorld share; for thread_comm.cc and thread_world.cc. A Transfer is one
// message: the half that comes first waits in the receiver's mailbox for the other. From then on
// its state says whose turn it is, without a lock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "comm/progress.h"
#include "comm/thread_comm.h"

namespace narrows {

std::int64_t steady_ns();

struct Transfer {
  enum State { Posted, Matched, Reading, Done, Cancelled };

  // Written under the mailbox's lock until Matched, then constant.
  std::uint64_t group = 0;
  std::uint64_t tag = 0;
  int source = 0;
  const void* data = nullptr;
  std::size_t sent = 0;  // bytes at each end
  std::size_t expected = 0;
  bool has_send = false;
  bool has_receive = false;
  std::int64_t due_ns = 0;

  std::atomic<int> state = Posted;
  std::atomic<int> holders = 0;  // ends that may still look; at none it is used again
};

struct Mailbox {
  std::mutex mutex;
  std::deque<Transfer> all;     // stable addresses; grows to the most that were open at once
  std::vector<Transfer*> open;  // one half is here
  std::size_t next = 0;         // where to look for a free one

  Transfer& find(std::uint64_t group, std::uint64_t tag, int source, bool for_send);
  void withdraw(Transfer& transfer);
};

// One rank: its mailbox, how to wake it, and whether it is alive.
struct ThreadRank {
  explicit ThreadRank(ThreadWorld::State& world, int rank);

  void notify();
  void idle(int spins, bool is_owner);
  void beat();  // by the owner, outside of waiting

  ThreadWorld::State& world;
  int rank;
  Mailbox box;
  std::atomic<std::uint64_t> events = 0;
  std::atomic<int> sleepers = 0;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<std::int64_t> next_due_ns;
  std::uint64_t seen[2] = {0, 0};  // events seen by the background and by the owner

  std::atomic<std::int64_t> beat_ns;
  std::atomic<bool> waits = false;
  std::atomic<bool> ended = false;
  CommProgress progress;  // last: its thread uses what stands above
};

struct ThreadWorld::State {
  explicit State(ThreadWorldOptions options);

  void fail(Error error);  // the first counts
  std::optional<Error> failure() const;
  std::uint64_t group_id(std::uint64_t parent, std::uint64_t split, int color);

  const ThreadWorldOptions options;
  Links links;
  std::deque<ThreadRank> ranks;
  std::atomic<bool> has_failed = false;
  std::atomic<std::int64_t> moved_ns;  // when the last message was (or will be) delivered
  bool is_crowded = false;             // more ranks than processors: never spin

 private:
  mutable std::mutex mutex_;
  std::optional<Error> failure_;
  std::map<std::tuple<std::uint64_t, std::uint64_t, int>, std::uint64_t> groups_;
};

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "comm/thread_comm.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>

#include "comm/operation.h"
#include "comm/thread_world.h"

namespace narrows {
namespace {

constexpr std::int64_t kLookEvery = 20'000'000;  // nanoseconds between looks at deadlines
constexpr std::int64_t kRecent = 1'000'000'000;  // a waiting rank beats far more often

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(ThreadRank& self, std::uint64_t group, int rank, std::vector<int> members)
      : Communicator(rank, members,
                     hierarchy_of(members, ranks_per_node(self.world.options.levels)),
                     self.progress),
        self_(self),
        world_(self.world),
        group_(group) {
    // What is written back would travel without the links' knowing.
    if (!world_.links.are_slow()) share_memory();
  }

  Result<std::unique_ptr<Communicator>> split(int color, int key) override;
  void alive() override { self_.beat(); }

 protected:
  Ticket post_send(int peer, std::uint64_t tag, const void* data, std::size_t bytes) override;
  Ticket post_receive(int peer, std::uint64_t tag, void* into, std::size_t bytes) override;
  Result<const void*> arrived(Ticket receive) override;
  void consumed(Ticket receive) override;
  Result<bool> sent(Ticket send) override;
  void cancel(Ticket ticket, bool is_send) override;
  Status health(const Operation& waiting, bool is_owner) override;
  Error fail(const Error& error) override;

 private:
  ThreadRank& world_rank(int peer) const {
    return world_.ranks[static_cast<std::size_t>(members()[static_cast<std::size_t>(peer)])];
  }
  void match(Transfer& transfer, int to);
  Error ended_early() const;
  std::optional<Error> silent_peer(const Operation& waiting, std::int64_t now) const;
  bool all_wait(std::int64_t now) const;

  ThreadRank& self_;  // borrows, as all below
  ThreadWorld::State& world_;
  std::uint64_t group_;
  std::uint64_t splits_ = 0;
  std::int64_t looked_ns_ = 0;
};

Transfer& transfer_of(void* at) { return *static_cast<Transfer*>(at); }

// Both halves are here: books the links. Under the mailbox's lock.
void ThreadCommunicator::match(Transfer& transfer, int to) {
  const std::int64_t now = steady_ns();
  transfer.due_ns =
      world_.links.are_slow() ? world_.links.arrival(transfer.source, to, transfer.sent, now) : 0;
  std::int64_t last = world_.moved_ns.load(std::memory_order_relaxed);
  const std::int64_t moved = std::max(now, transfer.due_ns);
  while (last < moved && !world_.moved_ns.compare_exchange_weak(last, moved)) {
  }
  transfer.state.store(Transfer::Matched, std::memory_order_release);
}

Communicator::Ticket ThreadCommunicator::post_send(int peer, std::uint64_t tag, const void* data,
                                                   std::size_t bytes) {
  ThreadRank& to = world_rank(peer);
  Transfer* transfer = nullptr;
  bool matched = false;
  {
    const std::lock_guard<std::mutex> lock(to.box.mutex);
    transfer = &to.box.find(group_, tag, self_.rank, true);
    transfer->holders.fetch_add(1, std::memory_order_relaxed);
    transfer->data = data;
    transfer->sent = bytes;
    transfer->has_send = true;
    matched = transfer->has_receive;
    if (matched) match(*transfer, to.rank);
  }
  if (matched) to.notify();
  return {transfer};
}

// Nothing is placed: `arrived` shows the sender's memory.
Communicator::Ticket ThreadCommunicator::post_receive(int peer, std::uint64_t tag, void*,
                                                      std::size_t bytes) {
  const int source = world_rank(peer).rank;
  const std::lock_guard<std::mutex> lock(self_.box.mutex);
  Transfer& transfer = self_.box.find(group_, tag, source, false);
  transfer.holders.fetch_add(1, std::memory_order_relaxed);
  transfer.expected = bytes;
  transfer.has_receive = true;
  if (transfer.has_send) match(transfer, self_.rank);
  return {&transfer};
}

Result<const void*> ThreadCommunicator::arrived(Ticket receive) {
  Transfer& t = transfer_of(receive.at);
  const int state = t.state.load(std::memory_order_acquire);
  if (state == Transfer::Posted) return nullptr;
  if (state == Transfer::Cancelled) return tl::unexpected<Error>(ended_early());
  if (t.due_ns > 0 && t.due_ns > steady_ns()) {
    self_.next_due_ns.store(std::min(self_.next_due_ns.load(), t.due_ns));
    return nullptr;
  }
  if (t.sent != t.expected) {
    const Error error{ErrorCode::InvalidInput,
                      fmt::format("rank {} sends {} bytes where rank {} expects {}", t.source,
                                  t.sent, self_.rank, t.expected)};
    world_.fail(error);
    return tl::unexpected<Error>(error);
  }
  int expected = Transfer::Matched;
  if (!t.state.compare_exchange_strong(expected, Transfer::Reading)) {
    return tl::unexpected<Error>(ended_early());
  }
  return t.data != nullptr ? t.data : &t;  // an empty message has arrived too
}

void ThreadCommunicator::consumed(Ticket receive) {
  Transfer& t = transfer_of(receive.at);
  ThreadRank& sender = world_.ranks[static_cast<std::size_t>(t.source)];
  t.state.store(Transfer::Done, std::memory_order_release);
  t.holders.fetch_sub(1, std::memory_order_release);
  sender.notify();
}

Result<bool> ThreadCommunicator::sent(Ticket send) {
  Transfer& t = transfer_of(send.at);
  const int state = t.state.load(std::memory_order_acquire);
  if (state == Transfer::Cancelled) return tl::unexpected<Error>(ended_early());
  if (state != Transfer::Done) return false;
  t.holders.fetch_sub(1, std::memory_order_release);
  return true;
}

// A receiver that is reading is let finish: after this the sender's memory is its own again.
void ThreadCommunicator::cancel(Ticket ticket, bool is_send) {
  Transfer& t = transfer_of(ticket.at);
  for (ThreadRank& rank : world_.ranks) {
    const std::lock_guard<std::mutex> lock(rank.box.mutex);
    rank.box.withdraw(t);
  }
  for (;;) {
    int state = t.state.load(std::memory_order_acquire);
    if (state == Transfer::Done || state == Transfer::Cancelled) break;
    if (state == Transfer::Reading && !is_send) break;
    if (state == Transfer::Reading) {
      sched_yield();
      continue;
    }
    if (t.state.compare_exchange_strong(state, Transfer::Cancelled)) break;
  }
  t.holders.fetch_sub(1, std::memory_order_release);
}

// Another rank has withdrawn its half, which it does only when the world has failed.
Error ThreadCommunicator::ended_early() const {
  return world_.failure().value_or(Error{ErrorCode::Device, "a rank has withdrawn a message"});
}

std::optional<Error> ThreadCommunicator::silent_peer(const Operation& waiting,
                                                     std::int64_t now) const {
  const int peer = waiting.awaited();
  if (peer < 0) return std::nullopt;
  const ThreadRank& other = world_rank(peer);
  const std::string here = fmt::format("rank {} waits for it in {}", self_.rank, waiting.what);
  if (other.ended.load()) {
    return Error{ErrorCode::Device, fmt::format("rank {} has ended, {}", other.rank, here)};
  }
  const std::int64_t silence = now - other.beat_ns.load(std::memory_order_relaxed);
  if (silence <= round_up(world_.options.silence).ns) return std::nullopt;
  return Error{ErrorCode::Device, fmt::format("rank {} has been silent for {} s, {}", other.rank,
                                              silence / 1'000'000'000, here)};
}

// Every rank waits, and nothing has moved for the deadline.
bool ThreadCommunicator::all_wait(std::int64_t now) const {
  if (now - world_.moved_ns.load() <= round_up(world_.options.silence).ns) return false;
  return std::all_of(world_.ranks.begin(), world_.ranks.end(), [&](const ThreadRank& rank) {
    return rank.ended.load() || (rank.waits.load() && now - rank.beat_ns.load() < kRecent);
  });
}

Status ThreadCommunicator::health(const Operation& waiting, bool is_owner) {
  if (world_.has_failed.load(std::memory_order_acquire)) {
    return tl::unexpected<Error>(*world_.failure());
  }
  const std::int64_t now = steady_ns();
  if (is_owner) {
    self_.waits.store(true, std::memory_order_relaxed);
    self_.beat_ns.store(now, std::memory_order_relaxed);
  }
  if (now - looked_ns_ < kLookEvery) return {};
  looked_ns_ = now;
  std::optional<Error> error = silent_peer(waiting, now);
  if (!error && all_wait(now)) {
    error =
        Error{ErrorCode::Device,
              fmt::format("all ranks wait for one another: rank {} for rank {} in {}", self_.rank,
                          world_rank(std::max(0, waiting.awaited())).rank, waiting.what)};
  }
  if (!error) return {};
  return tl::unexpected<Error>(*error);
}

Error ThreadCommunicator::fail(const Error& error) {
  world_.fail(error);
  return *world_.failure();
}

Result<std::unique_ptr<Communicator>> ThreadCommunicator::split(int color, int key) {
  const std::vector<std::int32_t> mine = {color, key};
  std::vector<std::int32_t> all(2 * static_cast<std::size_t>(size()));
  TRY(all_gather(mine, all));
  const std::uint64_t split = splits_++;
  if (color < 0) return nullptr;
  std::vector<std::pair<int, int>> order;  // key, rank here
  for (int i = 0; i < size(); ++i) {
    const std::size_t at = 2 * static_cast<std::size_t>(i);
    if (all[at] == color) order.emplace_back(all[at + 1], i);
  }
  std::sort(order.begin(), order.end());
  std::vector<int> of_world;
  int rank_there = 0;
  for (const auto& [unused, i] : order) {
    if (i == rank()) rank_there = static_cast<int>(of_world.size());
    of_world.push_back(members()[static_cast<std::size_t>(i)]);
  }
  return std::make_unique<ThreadCommunicator>(self_, world_.group_id(group_, split, color),
                                              rank_there, std::move(of_world));
}

}  // namespace

std::unique_ptr<Communicator> ThreadWorld::communicator(int rank) {
  // Inherited by the background thread. Failure only makes sleeps coarser.
  if (state_->links.are_slow()) static_cast<void>(::prctl(PR_SET_TIMERSLACK, 1));
  std::vector<int> members(static_cast<std::size_t>(state_->options.ranks));
  for (std::size_t i = 0; i < members.size(); ++i) members[i] = static_cast<int>(i);
  ThreadRank& self = state_->ranks[static_cast<std::size_t>(rank)];
  self.beat();
  return std::make_unique<ThreadCommunicator>(self, 0, rank, std::move(members));
}

}  // namespace narrows

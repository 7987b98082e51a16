// SPDX-License-Identifier: Apache-2.0
#include "comm/thread_world.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <limits>

namespace narrows {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLongestSleep = 1'000'000;  // so that deadlines are looked at
// Below this a sleep would overshoot: with the least timer slack, waking takes some 5 us.
constexpr std::int64_t kShortestSleep = 20'000;
// Of a rank with a processor of its own: some 200 us, looks at its verbs included, or somewhat more
// than it takes to be woken.
constexpr int kSpins = 1000;
constexpr int kYields = 20;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

std::int64_t steady_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

Transfer& Mailbox::find(std::uint64_t group, std::uint64_t tag, int source, bool for_send) {
  for (std::size_t i = 0; i < open.size(); ++i) {
    Transfer& t = *open[i];
    const bool is_free = for_send ? !t.has_send : !t.has_receive;
    if (!is_free || t.group != group || t.tag != tag || t.source != source) continue;
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    return t;
  }
  for (std::size_t tries = 0; tries < all.size(); ++tries) {
    Transfer& t = all[next];
    next = (next + 1) % all.size();
    if (t.holders.load(std::memory_order_acquire) == 0) {
      open.push_back(&t);
      break;
    }
  }
  if (open.empty() || open.back()->holders.load(std::memory_order_relaxed) != 0) {
    open.push_back(&all.emplace_back());
  }
  Transfer& t = *open.back();
  t.group = group;
  t.tag = tag;
  t.source = source;
  t.has_send = t.has_receive = false;
  t.state.store(Transfer::Posted, std::memory_order_relaxed);
  return t;
}

void Mailbox::withdraw(Transfer& transfer) { std::erase(open, &transfer); }

ThreadRank::ThreadRank(ThreadWorld::State& w, int r)
    : world(w),
      rank(r),
      next_due_ns(kNever),
      beat_ns(steady_ns()),
      progress([this](int spins, bool is_owner) { idle(spins, is_owner); }) {}

void ThreadRank::beat() {
  waits.store(false, std::memory_order_relaxed);
  beat_ns.store(steady_ns(), std::memory_order_relaxed);
}

void ThreadRank::notify() {
  events.fetch_add(1);
  if (sleepers.load() == 0) return;
  // Whoever counted itself a sleeper either sees the event or is in `wait` once the lock is free.
  const std::lock_guard<std::mutex> lock(mutex);
  wake.notify_all();
}

// `seen` was read before the verbs were last looked at, so that no event is slept through.
void ThreadRank::idle(int spins, bool is_owner) {
  std::uint64_t& mine = seen[is_owner ? 1 : 0];
  const std::uint64_t current = events.load();
  if (current != mine) {
    mine = current;
    return;
  }
  const int patience = world.is_crowded || !is_owner ? 0 : kSpins;
  if (spins < patience) return pause_briefly();
  if (spins < patience + kYields) {
    sched_yield();
    return;
  }
  const std::int64_t sleep = std::min(kLongestSleep, next_due_ns.exchange(kNever) - steady_ns());
  if (sleep < kShortestSleep) {
    sched_yield();
    return;
  }
  std::unique_lock<std::mutex> lock(mutex);
  sleepers.fetch_add(1);
  // The system clock, because thread sanitizers do not know waiting on the steady one.
  wake.wait_until(lock, std::chrono::system_clock::now() + std::chrono::nanoseconds(sleep),
                  [&] { return events.load() != mine; });
  sleepers.fetch_sub(1);
}

ThreadWorld::State::State(ThreadWorldOptions given)
    : options(std::move(given)), links(options.levels, options.ranks), moved_ns(steady_ns()) {
  is_crowded = options.ranks > static_cast<int>(std::thread::hardware_concurrency());
  for (int rank = 0; rank < options.ranks; ++rank) ranks.emplace_back(*this, rank);
}

void ThreadWorld::State::fail(Error error) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failure_) return;
    failure_ = std::move(error);
  }
  has_failed.store(true, std::memory_order_release);
  for (ThreadRank& rank : ranks) rank.notify();
}

std::optional<Error> ThreadWorld::State::failure() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

std::uint64_t ThreadWorld::State::group_id(std::uint64_t parent, std::uint64_t split, int color) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return groups_.try_emplace({parent, split, color}, groups_.size() + 1).first->second;
}

ThreadWorld::ThreadWorld(ThreadWorldOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}

ThreadWorld::~ThreadWorld() = default;

void ThreadWorld::end(int rank, const Status& status) {
  ThreadRank& self = state_->ranks[static_cast<std::size_t>(rank)];
  // The failure first: who sees only that this rank has ended would blame it for no more than that.
  if (!status) state_->fail(status.error().within(fmt::format("rank {}", rank)));
  self.ended.store(true);
  for (ThreadRank& other : state_->ranks) other.notify();
}

Status ThreadWorld::failure() const {
  if (const std::optional<Error> error = state_->failure()) return tl::unexpected<Error>(*error);
  return {};
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/workers.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace narrows {
namespace {

constexpr int kSpins = 4000;  // some 20 us, the pause between two ops

}  // namespace

// Each call of share is a round; helpers wait for its number, first spinning, then asleep.
struct Workers::Team {
  std::atomic<std::uint64_t> round{0};
  std::atomic<int> busy{0};
  std::atomic<bool> stop{false};
  // Of the round.
  const Work* work = nullptr;
  std::int64_t count = 0;
  std::int64_t least = 1;
  std::int64_t parts = 0;
  bool is_taken = false;              // part by part; else each thread has its own
  std::atomic<std::int64_t> next{0};  // that nobody has taken
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> threads;

  void help(int worker) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_round(seen);
      if (stop.load()) return;
      seen = round.load();
      take_part(worker);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }
  void take_part(int worker) {
    if (!is_taken) return do_part(worker, worker);
    for (std::int64_t i = next.fetch_add(1); i < parts; i = next.fetch_add(1)) do_part(worker, i);
  }
  void do_part(int worker, std::int64_t i) const {
    if (i >= parts) return;
    const std::int64_t pieces = (count + least - 1) / least;
    const std::int64_t first = i * pieces / parts * least;
    const std::int64_t last = std::min(count, (i + 1) * pieces / parts * least);
    if (first < last) (*work)(worker, first, last);
  }
  void wait_for_round(std::uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (round.load(std::memory_order_acquire) != seen || stop.load()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return round.load() != seen || stop.load(); });
  }
  void begin_round() {
    {
      const std::lock_guard lock(mutex);
      busy.store(static_cast<int>(threads.size()));
      round.fetch_add(1);
    }
    wake.notify_all();
  }
  void end_round() {
    int spins = 0;
    while (busy.load(std::memory_order_acquire) != 0) {
      if (++spins > kSpins) std::this_thread::yield();
    }
  }
};

Workers::Workers(int threads) : threads_(threads) {
  if (threads <= 1) return;
  team_ = std::make_unique<Team>();
  for (int i = 1; i < threads; ++i) team_->threads.emplace_back([this, i] { team_->help(i); });
}

Workers::~Workers() {
  if (team_ == nullptr) return;
  {
    const std::lock_guard lock(team_->mutex);
    team_->stop.store(true);
  }
  team_->wake.notify_all();
  for (std::thread& thread : team_->threads) thread.join();
}

void Workers::share(std::int64_t count, std::int64_t least, const Work& work, std::int64_t runs) {
  if (count <= 0) return;
  const std::int64_t pieces = (count + least - 1) / least;
  const std::int64_t parts = std::min<std::int64_t>(threads_ * runs, pieces);
  if (threads_ == 1 || parts <= 1) {
    work(0, 0, count);
    return;
  }
  team_->work = &work;
  team_->count = count;
  team_->least = least;
  team_->parts = parts;
  team_->is_taken = runs > 1;
  team_->next.store(0);
  team_->begin_round();
  team_->take_part(0);
  team_->end_round();
}

}  // namespace narrows

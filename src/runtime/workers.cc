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
  struct Run {
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  std::atomic<std::uint64_t> round{0};
  std::atomic<int> busy{0};
  std::atomic<bool> stop{false};
  const Work* work = nullptr;
  std::vector<Run> runs;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> threads;

  void help(int worker) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_round(seen);
      if (stop.load()) return;
      seen = round.load();
      const Run run = runs[static_cast<std::size_t>(worker)];
      if (run.first < run.last) (*work)(worker, run.first, run.last);
      busy.fetch_sub(1, std::memory_order_release);
    }
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
  team_->runs.resize(static_cast<std::size_t>(threads));
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

void Workers::share(std::int64_t count, std::int64_t least, const Work& work) {
  if (count <= 0) return;
  const std::int64_t pieces = (count + least - 1) / least;
  const std::int64_t parts = std::min<std::int64_t>(threads_, pieces);
  if (parts <= 1) {
    work(0, 0, count);
    return;
  }
  for (std::int64_t i = 0; i < threads_; ++i) {
    const std::int64_t first = std::min(i, parts) * pieces / parts * least;
    const std::int64_t last = std::min(i + 1, parts) * pieces / parts * least;
    team_->runs[static_cast<std::size_t>(i)] = {std::min(first, count), std::min(last, count)};
  }
  team_->work = &work;
  team_->begin_round();
  const Team::Run mine = team_->runs.front();
  work(0, mine.first, mine.last);
  team_->end_round();
}

}  // namespace narrows

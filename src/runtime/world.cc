// SPDX-License-Identifier: Apache-2.0
#include "runtime/world.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "comm/mpi_world.h"
#include "comm/thread_comm.h"

namespace narrows {
namespace {

// What the threads of a world share with the one that started them. Whoever leaves last ends it:
// that may be a thread that hung when all others had gone.
struct Threads {
  explicit Threads(const WorldOptions& given, const RankWork& given_work)
      : world({.ranks = given.ranks, .levels = given.levels, .silence = given.silence}),
        work(given_work) {}

  ThreadWorld world;
  RankWork work;
  std::mutex mutex;
  std::condition_variable ended;
  int running = 0;
  int holders = 0;
};

void leave(Threads* shared) {
  bool last = false;
  {
    const std::lock_guard<std::mutex> lock(shared->mutex);
    last = --shared->holders == 0;
  }
  if (last) const std::unique_ptr<Threads> ending(shared);
}

void run_rank(Threads& shared, int rank) {
  Status status;
  {
    const std::unique_ptr<Communicator> comm = shared.world.communicator(rank);
    status = shared.work(*comm);
  }
  shared.world.end(rank, status);
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    --shared.running;
    shared.ended.notify_all();
  }
  leave(&shared);
}

// Whether all have ended: without a limit while nothing has failed, then within the grace.
bool await_all(Threads& shared, Seconds grace) {
  using Clock = std::chrono::steady_clock;
  std::unique_lock<std::mutex> lock(shared.mutex);
  const std::chrono::milliseconds look(50);
  Clock::time_point deadline = Clock::time_point::max();
  while (shared.running > 0) {
    // The system clock, because thread sanitizers do not know waiting on the steady one.
    shared.ended.wait_until(lock, std::chrono::system_clock::now() + look);
    if (shared.running == 0) return true;
    const bool has_deadline = deadline != Clock::time_point::max();
    if (!has_deadline && !shared.world.failure()) {
      deadline = Clock::now() + std::chrono::nanoseconds(round_up(grace).ns);
    }
    if (has_deadline && Clock::now() > deadline) return false;
  }
  return true;
}

WorldEnd run_threads(const WorldOptions& options, const RankWork& work) {
  Threads* const shared = std::make_unique<Threads>(options, work).release();
  shared->running = options.ranks;
  shared->holders = options.ranks + 1;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < options.ranks; ++rank) {
    threads.emplace_back([shared, rank] { run_rank(*shared, rank); });
  }
  const bool all_ended = await_all(*shared, options.grace);
  WorldEnd end{shared->world.failure(), true, !all_ended};
  for (std::thread& thread : threads) {
    if (all_ended) {
      thread.join();
    } else {
      thread.detach();
    }
  }
  leave(shared);
  return end;
}

Status check_job(const WorldOptions& options, int processes) {
  if (processes != options.ranks) {
    return invalid(fmt::format("the plan has {} ranks, expected as many processes, found {}",
                               options.ranks, processes));
  }
  for (const LinkLevel& level : options.levels) {
    if (level.bandwidth > Bandwidth{} || level.latency > Seconds{}) {
      return unsupported(level.name +
                         ": links are emulated between threads, not between processes");
    }
  }
  return {};
}

WorldEnd run_process(const WorldOptions& options, const RankWork& work) {
  Result<std::unique_ptr<MpiWorld>> opened =
      MpiWorld::open({.levels = options.levels, .silence = options.silence});
  if (!opened) return {tl::unexpected<Error>(opened.error()), true, false};
  std::unique_ptr<MpiWorld> world = std::move(*opened);
  const bool leads = world->rank() == 0;
  // All processes see the same numbers, so that all end here or none.
  const Status fits = check_job(options, world->size());
  if (!fits) return {fits, leads, true};
  Status status;
  {
    const std::unique_ptr<Communicator> comm = world->communicator();
    status = work(*comm);
  }
  if (status) return {status, leads, false};
  if (!status.error().message.starts_with("rank ")) {
    world->fail(status.error());
    status = tl::unexpected<Error>(status.error().within(fmt::format("rank {}", world->rank())));
  }
  const bool speaks = world->speaks();
  static_cast<void>(world.release());
  return {status, speaks, true};
}

}  // namespace

int job_size() { return MpiWorld::is_launched() ? MpiWorld::launched_size() : 0; }

bool leads_job() { return MpiWorld::launched_rank() == 0; }

WorldEnd run_world(const WorldOptions& options, const RankWork& work) {
  return MpiWorld::is_launched() ? run_process(options, work) : run_threads(options, work);
}

}  // namespace narrows

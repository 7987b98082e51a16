// Runs a function on every rank of a thread world.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "comm/thread_comm.h"

namespace narrows::test {

// What each rank returned.
inline std::vector<Status> on_threads(ThreadWorldOptions options,
                                      const std::function<Status(Communicator&)>& work) {
  const int ranks = options.ranks;
  ThreadWorld world(std::move(options));
  std::vector<Status> results(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const std::unique_ptr<Communicator> comm = world.communicator(rank);
      Status& result = results[static_cast<std::size_t>(rank)];
      result = work(*comm);
      world.end(rank, result);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

}  // namespace narrows::test

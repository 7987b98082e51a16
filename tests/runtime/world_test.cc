// SPDX-License-Identifier: Apache-2.0
#include "runtime/world.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <thread>

using namespace narrows;

TEST_CASE("world: every rank runs once, and all can talk") {
  std::atomic<int> runs = 0;
  const WorldEnd end = run_world({.ranks = 5}, [&](Communicator& world) -> Status {
    ++runs;
    std::vector<std::int32_t> ones = {1};
    TRY(world.all_reduce(ones));
    return ones[0] == world.size() ? Status() : Status(invalid("wrong sum"));
  });
  CHECK(end.status.has_value());
  CHECK(end.speaks);
  CHECK_FALSE(end.is_broken);
  CHECK(runs == 5);
}

TEST_CASE("world: the first failure names its rank, and all have ended") {
  const WorldEnd end = run_world({.ranks = 4}, [&](Communicator& world) -> Status {
    if (world.rank() == 3) return io_error("no such file");
    for (;;) TRY(world.barrier());
  });
  REQUIRE_FALSE(end.status);
  CHECK(end.status.error().message == "rank 3: no such file");
  CHECK_FALSE(end.is_broken);
}

namespace {
void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }
}  // namespace

TEST_CASE("world: a rank that hangs is named, and is not waited for") {
  // Outlives the world, as the hanging thread still looks at it.
  static std::atomic<bool> go_on = false;
  static std::atomic<bool> went_on = false;
  // If it were waited for, this would never return.
  const WorldEnd end = run_world({.ranks = 3, .levels = {}, .silence = 1 * sec, .grace = 200 * ms},
                                 [](Communicator& world) -> Status {
                                   while (world.rank() == 2 && !go_on) nap();
                                   const Status met = world.barrier();
                                   if (world.rank() == 2) went_on = true;
                                   return met;
                                 });
  REQUIRE_FALSE(end.status);
  CHECK_THAT(end.status.error().message, Catch::StartsWith("rank 2 has been silent for"));
  CHECK(end.is_broken);
  go_on = true;
  while (!went_on) nap();
}

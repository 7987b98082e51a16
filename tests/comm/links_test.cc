// SPDX-License-Identifier: Apache-2.0
#include "comm/links.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>

#include "comm/on_threads.h"

using namespace narrows;
using namespace narrows::test;

namespace {

std::vector<LinkLevel> two_levels() {
  return {{"nvlink", 2, 1 * GB / sec, 10 * us}, {"infiniband", 4, 100 * MB / sec, 1 * ms}};
}

}  // namespace

TEST_CASE("links: a message takes bytes over bandwidth plus the latency of its level") {
  Links links(two_levels(), 4);
  CHECK(links.arrival(0, 1, 1'000'000, 500) == 500 + 1'000'000 + 10'000);
  CHECK(links.arrival(0, 2, 1'000'000, 500) == 500 + 10'000'000 + 1'000'000);
  CHECK(links.arrival(3, 3, 1'000'000, 500) == 500);
}

TEST_CASE("links: messages that share a port queue, others do not") {
  Links links(two_levels(), 4);
  CHECK(links.arrival(0, 2, 100'000, 0) == 2'000'000);
  CHECK(links.arrival(0, 3, 100'000, 0) == 3'000'000);  // after the first, on rank 0's port
  CHECK(links.arrival(1, 2, 100'000, 0) == 3'000'000);  // after the first, on rank 2's port
  CHECK(links.arrival(2, 0, 100'000, 0) == 2'000'000);  // the other direction is free
  CHECK(links.arrival(0, 1, 100'000, 0) == 110'000);    // and so is the inner level
}

TEST_CASE("links: an option sets bandwidth and latency of a level by name") {
  std::vector<LinkLevel> levels = {{"nvlink", 8, {}, {}}, {"roce", 16, {}, {}}};
  REQUIRE(emulate_link("nvlink=200GB/s,3us", levels));
  REQUIRE(emulate_link("roce=5 us", levels));
  CHECK(levels ==
        std::vector<LinkLevel>{{"nvlink", 8, 200 * GB / sec, 3 * us}, {"roce", 16, {}, 5 * us}});
  CHECK(emulate_link("ib=1GB/s", levels).error().message ==
        "expected a level of the cluster's links (nvlink, roce), found \"ib\"");
  CHECK(emulate_link("nvlink", levels).error().message ==
        "expected LEVEL=BANDWIDTH,LATENCY, found \"nvlink\"");
  CHECK(emulate_link("nvlink=fast", levels).error().message ==
        "nvlink: expected a bandwidth such as \"25 GB/s\" or a latency such as \"5 us\", found "
        "\"fast\"");
}

TEST_CASE("links: a transfer between threads takes as long as booked") {
  const std::vector<LinkLevel> levels = {{"fabric", 2, 100 * MB / sec, 500 * us}};
  double measured = 1;
  // The least of some, as a busy machine may delay a rank.
  for (int tries = 0; tries < 50 && measured > 0.05; ++tries) {
    on_threads({.ranks = 2, .levels = levels}, [&](Communicator& comm) -> Status {
      std::vector<float> data(250'000);
      TRY(comm.barrier());
      const auto begin = std::chrono::steady_clock::now();
      if (comm.rank() == 0) return comm.send(data, 1);
      TRY(comm.receive(data, 0));
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      measured = std::min(measured, took.count());
      return {};
    });
  }
  // 1 MB at 100 MB/s. The clock of the receiver starts at most a latency after the sender's post.
  CHECK(measured > 0.0095);
  CHECK(measured < 0.0500);
}

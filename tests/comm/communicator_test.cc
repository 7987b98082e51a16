// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "comm/on_threads.h"
#include "comm/verbs.h"

using namespace narrows;
using namespace narrows::test;

namespace {

ThreadWorldOptions world_of(int ranks, int per_node) {
  return {.ranks = ranks, .levels = {{"node", per_node, {}, {}}, {"fabric", ranks, {}, {}}}};
}

void expect_success(const std::vector<Status>& results) {
  for (const Status& result : results) {
    INFO((result ? std::string() : result.error().message));
    CHECK(result.has_value());
  }
}

}  // namespace

TEST_CASE("communicator: every algorithm equals brute force for 1 to 8 ranks") {
  for (const Algorithm algorithm : kAlgorithms) {
    for (int ranks = 1; ranks <= 8; ++ranks) {
      for (const int per_node : {1, 2, 3, 4}) {
        INFO(to_string(algorithm) << ", " << ranks << " ranks, " << per_node << " a node");
        expect_success(on_threads(world_of(ranks, per_node), [&](Communicator& comm) {
          comm.use(algorithm);
          return check_everything(comm);
        }));
      }
    }
  }
}

TEST_CASE("communicator: split makes groups in order of key, which communicate on their own") {
  expect_success(on_threads(world_of(8, 4), [](Communicator& comm) -> Status {
    // Columns of a grid of 2 x 4, in descending order of the world's rank.
    const std::unique_ptr<Communicator> column = TRY(comm.split(comm.rank() % 4, -comm.rank()));
    if (column->size() != 2) return invalid("a column has two ranks");
    const int upper = comm.rank() % 4 + 4;
    if (column->members()[0] != upper) return invalid("the larger rank has the smaller key");
    if (column->rank() != (comm.rank() == upper ? 0 : 1)) return invalid("a rank lost its place");
    TRY(check_everything(*column));
    const std::unique_ptr<Communicator> even = TRY(comm.split(comm.rank() % 2 == 0 ? 0 : -1, 0));
    if ((even == nullptr) != (comm.rank() % 2 == 1)) return invalid("odd ranks are in no group");
    return even ? check_everything(*even) : Status();
  }));
}

TEST_CASE("communicator: sums of f32 are the same bytes on every rank and in every run") {
  for (const Algorithm algorithm : kAlgorithms) {
    std::vector<float> first;
    for (int run = 0; run < 5; ++run) {
      std::vector<std::vector<float>> all(6);
      expect_success(on_threads(world_of(6, 2), [&](Communicator& comm) -> Status {
        comm.use(algorithm);
        std::vector<float>& data = all[static_cast<std::size_t>(comm.rank())];
        Random random(static_cast<std::uint64_t>(comm.rank()));
        for (int i = 0; i < 5000; ++i) data.push_back(static_cast<float>(random.uniform()));
        return comm.all_reduce(data);
      }));
      if (run == 0) first = all[0];
      for (const std::vector<float>& data : all) {
        CHECK(std::memcmp(data.data(), first.data(), first.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("communicator: bf16 is added in f32 and rounded to nearest even") {
  const auto bf16 = [](float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<std::uint16_t>(bits >> 16);
  };
  expect_success(on_threads({.ranks = 2}, [&](Communicator& comm) -> Status {
    // 256 has a neighbour at 258 in bf16: 256 + 1 ties to even, 256 + 3 rounds up to 260.
    std::vector<std::uint16_t> data = comm.rank() == 0
                                          ? std::vector<std::uint16_t>{bf16(256), bf16(256)}
                                          : std::vector<std::uint16_t>{bf16(1), bf16(3)};
    TRY(comm.all_reduce(data));
    if (data[0] != bf16(256) || data[1] != bf16(260)) return invalid("rounded otherwise");
    return {};
  }));
}

TEST_CASE("communicator: a scattered sum of bf16 may lie elsewhere or in its piece of the parts") {
  // Small whole numbers: sums of eight are numbers of bf16.
  const auto bf16 = [](float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<std::uint16_t>(bits >> 16);
  };
  const auto part = [](int rank, std::int64_t i) { return std::floor(value(rank, i) / 4); };
  constexpr std::int64_t kEach = 77;
  for (const Algorithm algorithm : kAlgorithms) {
    for (const int ranks : {1, 2, 3, 8}) {
      INFO(to_string(algorithm) << " of " << ranks);
      expect_success(on_threads(world_of(ranks, 2), [&](Communicator& comm) -> Status {
        comm.use(algorithm);
        std::vector<std::uint16_t> parts, sums;
        for (std::int64_t i = 0; i < kEach * ranks; ++i) {
          float sum = 0;
          for (int rank = 0; rank < ranks; ++rank) sum += part(rank, i);
          parts.push_back(bf16(part(comm.rank(), i)));
          if (i / kEach == comm.rank()) sums.push_back(bf16(sum));
        }
        std::vector<std::uint16_t> again = parts;
        std::vector<std::uint16_t> out(kEach);
        TRY(comm.reduce_scatter(parts, out));
        if (out != sums) return differ("reduce_scatter", comm.rank());
        const std::span<std::uint16_t> own(again.data() + comm.rank() * kEach, kEach);
        TRY(comm.reduce_scatter(again, own));
        return std::equal(own.begin(), own.end(), sums.begin()) ? Status()
                                                                : differ("in place", comm.rank());
      }));
    }
  }
}

TEST_CASE("communicator: messages of one tag keep their order, other tags overtake") {
  expect_success(on_threads({.ranks = 2}, [](Communicator& comm) -> Status {
    std::vector<float> a = {1}, b = {2}, c = {3};
    if (comm.rank() == 0) {
      Request first = comm.start_send(a, 1, 7);
      Request second = comm.start_send(b, 1, 7);
      TRY(comm.send(c, 1, 9));
      TRY(first.wait());
      return second.wait();
    }
    std::vector<float> x(1), y(1), z(1);
    TRY(comm.receive(z, 0, 9));
    TRY(comm.receive(x, 0, 7));
    TRY(comm.receive(y, 0, 7));
    return x == a && y == b && z == c ? Status() : invalid("messages were mixed up");
  }));
}

TEST_CASE("communicator: started verbs of two groups may be begun in different orders") {
  expect_success(on_threads({.ranks = 2}, [](Communicator& comm) -> Status {
    const std::unique_ptr<Communicator> other = TRY(comm.split(0, 0));
    for (int round = 0; round < 50; ++round) {
      std::vector<float> a = values(comm.rank(), 3000);
      std::vector<float> b = values(comm.rank(), 3000);
      Communicator& first = comm.rank() == 0 ? comm : *other;
      Communicator& second = comm.rank() == 0 ? *other : comm;
      Request one = first.start_all_reduce(a);
      Request two = second.start_all_reduce(b);
      TRY(two.wait());
      TRY(one.wait());
      if (a != sums(2, 3000) || b != a) return invalid("wrong sums");
    }
    return {};
  }));
}

TEST_CASE("communicator: a started collective ends while the ranks compute") {
  const std::vector<LinkLevel> slow = {{"fabric", 4, 100 * MB / sec, 1 * ms}};
  // Six rounds of 2.5 + 1 ms: a collective that moved only while it is waited for would take 21 ms
  // of waiting every time. A busy machine may delay a wait, so the least of some is looked at.
  std::atomic<std::int64_t> least_us = 1'000'000;
  for (int tries = 0; tries < 24 && least_us >= 10'000; ++tries) {
    expect_success(on_threads({.ranks = 4, .levels = slow}, [&](Communicator& comm) -> Status {
      comm.use(Algorithm::Ring);
      std::vector<float> data = values(comm.rank(), 250'000);
      Request request = comm.start_all_reduce(data);
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
      const auto begin = std::chrono::steady_clock::now();
      TRY(request.wait());
      const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(
          std::chrono::steady_clock::now() - begin);
      if (comm.rank() == 0) least_us = std::min<std::int64_t>(least_us, waited.count());
      return data == sums(4, 250'000) ? Status() : invalid("wrong sums");
    }));
  }
  CHECK(least_us < 10'000);
}

TEST_CASE("communicator: an error of one rank ends all others and names it") {
  const std::vector<Status> results = on_threads({.ranks = 4}, [](Communicator& comm) -> Status {
    if (comm.rank() == 2) return io_error("disk on fire");
    std::vector<float> data(100'000);
    Request left_open = comm.start_all_reduce(data);
    for (;;) TRY(comm.barrier());
  });
  for (const int rank : {0, 1, 3}) {
    CHECK(results[static_cast<std::size_t>(rank)].error().message == "rank 2: disk on fire");
  }
  CHECK(results[2].error().message == "disk on fire");
}

TEST_CASE("communicator: a rank that has ended is named by those who wait for it") {
  const std::vector<Status> results = on_threads({.ranks = 2}, [](Communicator& comm) -> Status {
    return comm.rank() == 1 ? Status() : comm.barrier();
  });
  CHECK(results[0].error().message == "rank 1 has ended, rank 0 waits for it in barrier");
}

TEST_CASE("communicator: a hanging rank is named within the deadline") {
  const std::vector<Status> results =
      on_threads({.ranks = 3, .levels = {}, .silence = 1 * sec}, [](Communicator& comm) -> Status {
        if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(3));
        return comm.barrier();
      });
  for (const Status& result : results) {
    REQUIRE_FALSE(result);
    CHECK_THAT(result.error().message, Catch::StartsWith("rank 1 has been silent for"));
  }
}

TEST_CASE("communicator: a slow rank that says it is alive is waited for") {
  expect_success(
      on_threads({.ranks = 2, .levels = {}, .silence = 1 * sec}, [](Communicator& comm) -> Status {
        for (int i = 0; comm.rank() == 1 && i < 150; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
          comm.alive();
        }
        return comm.barrier();
      }));
}

TEST_CASE("communicator: ranks that wait for one another are told so") {
  const std::vector<Status> results =
      on_threads({.ranks = 2, .levels = {}, .silence = 1 * sec}, [](Communicator& comm) -> Status {
        std::vector<float> data(1);
        return comm.receive(data, 1 - comm.rank());
      });
  for (const Status& result : results) {
    REQUIRE_FALSE(result);
    CHECK_THAT(result.error().message, Catch::StartsWith("all ranks wait for one another: rank"));
  }
}

TEST_CASE("communicator: messages of unequal length are refused with both lengths") {
  const std::vector<Status> results = on_threads({.ranks = 2}, [](Communicator& comm) -> Status {
    std::vector<float> data(comm.rank() == 0 ? 3 : 2);
    return comm.rank() == 0 ? comm.send(data, 1) : comm.receive(data, 0);
  });
  for (const Status& result : results) {
    REQUIRE_FALSE(result);
    CHECK(result.error().message == "rank 0 sends 12 bytes where rank 1 expects 8");
  }
}

TEST_CASE("communicator: algorithms are known by the plan's names") {
  for (const Algorithm algorithm : kAlgorithms) {
    CHECK(algorithm_of(to_string(algorithm)).value() == algorithm);
  }
  CHECK(algorithm_of("").value() == Algorithm::Direct);
  CHECK(algorithm_of("all-to-all").value() == Algorithm::Direct);
  CHECK(algorithm_of("deepep").value() == Algorithm::TwoHop);
  CHECK(algorithm_of("smoke").error().message ==
        "expected an algorithm (direct, ring, tree, hierarchical, two-hop), found \"smoke\"");
}

// Collectives and messages give each rank its numbers: among threads with a GPU each, emulated ones
// too, and by NCCL among processes, each of which runs the last test as one rank: scripts/gpu-check
// starts them with NARROWS_RANK, NARROWS_RANKS and NARROWS_ID_FILE, several on one GPU. That one is
// hidden from ordinary runs.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <iostream>
#include <mutex>
#include <thread>

#include "gpu/device.h"
#include "gpu/emulated_module.h"

namespace narrows::test {
namespace {

// The first rank leaves the id in a file, whole or not at all; the others wait for it.
gpu::UniqueId shared_id(Device& d, int rank, const std::string& file) {
  gpu::UniqueId id{};
  if (rank == 0) {
    const Result<gpu::UniqueId> made = d.gpu().unique_id();
    if (!made.has_value()) FAIL(made.error().message);
    std::ofstream(file + ".part", std::ios::binary).write(made->bytes, sizeof made->bytes);
    std::rename((file + ".part").c_str(), file.c_str());
    return *made;
  }
  for (int waited = 0; waited < 300; ++waited) {
    if (std::ifstream(file, std::ios::binary).read(id.bytes, sizeof id.bytes)) return id;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  FAIL("no id in " << file);
  return id;
}

// Whole numbers that bf16 holds exactly, sums of a few ranks' included.
float value_of(int rank, std::int64_t i) { return static_cast<float>((rank + 1) * (i % 8)); }

struct Ranks {
  int rank, ranks;
};

// What this rank must hold after the exchange of `count` numbers.
std::vector<float> expected(gpu::Exchange what, const Ranks& r, std::int64_t count) {
  const bool gathers = what == gpu::Exchange::AllGather || what == gpu::Exchange::AllToAll;
  std::vector<float> out;
  for (std::int64_t i = 0; i < (gathers ? r.ranks * count : count); ++i) {
    float sum = 0;
    const std::int64_t at = what == gpu::Exchange::ReduceScatter ? r.rank * count + i : i;
    for (int from = 0; from < r.ranks; ++from) sum += value_of(from, at);
    const int source = static_cast<int>(i / count);
    if (what == gpu::Exchange::AllGather) sum = value_of(source, i % count);
    if (what == gpu::Exchange::AllToAll) sum = value_of(source, r.rank * count + i % count);
    if (what == gpu::Exchange::Broadcast) sum = value_of(r.ranks - 1, i);
    if (what == gpu::Exchange::SendReceive) sum = value_of(r.rank ^ 1, i);
    out.push_back(sum);
  }
  return out;
}

// Every exchange once, by one rank of several that all do it; what was wrong, in words.
std::vector<std::string> exchange_all(Device& d, const Ranks& r) {
  std::vector<std::string> wrong;
  for (const gpu::Type type : kTypes) {
    for (const std::int64_t count : {1, 1000, 65536}) {
      for (const gpu::Exchange what :
           {gpu::Exchange::AllReduce, gpu::Exchange::AllGather, gpu::Exchange::ReduceScatter,
            gpu::Exchange::AllToAll, gpu::Exchange::Broadcast, gpu::Exchange::SendReceive}) {
        const bool splits = what == gpu::Exchange::ReduceScatter || what == gpu::Exchange::AllToAll;
        std::vector<float> mine;
        for (std::int64_t i = 0; i < (splits ? r.ranks * count : count); ++i)
          mine.push_back(value_of(r.rank, i));
        const std::vector<float> truth = expected(what, r, count);
        const Values in = d.values(type, mine), out = d.result(type, std::ssize(truth));
        const int peer = what == gpu::Exchange::Broadcast ? r.ranks - 1 : r.rank ^ 1;
        d.run(gpu::Collective{what, type, count, in.data(), out.data(), peer});
        if (d.read(out) == truth) continue;
        wrong.push_back("rank " + std::to_string(r.rank) + ": exchange " +
                        std::to_string(static_cast<int>(what)) + " of " + std::to_string(count) +
                        " in " + word(type));
      }
    }
  }
  return wrong;
}

// The same by threads of this process, a GPU each. The testing framework knows one thread only.
std::vector<std::string> exchange_among_threads(const gpu::Api& api, int ranks) {
  std::promise<gpu::UniqueId> id;
  const std::shared_future<gpu::UniqueId> known = id.get_future().share();
  std::mutex mutex;
  std::vector<std::string> wrong;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      Result<Gpu> opened = Gpu::open(api, rank);
      std::string failure = opened ? "" : opened.error().message;
      std::vector<std::string> mine;
      if (rank == 0) {
        id.set_value(opened ? opened->unique_id().value_or(gpu::UniqueId{}) : gpu::UniqueId{});
      }
      if (opened) {
        Device d("rank", std::move(*opened));
        const Status joined = d.gpu().join(ranks, rank, known.get());
        if (!joined) failure = joined.error().message;
        if (joined) mine = exchange_all(d, {rank, ranks});
      }
      const std::lock_guard<std::mutex> lock(mutex);
      if (!failure.empty()) wrong.push_back(failure);
      wrong.insert(wrong.end(), mine.begin(), mine.end());
    });
  }
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

}  // namespace

TEST_CASE("gpu ranks: every exchange among threads gives each rank its numbers") {
  const std::vector<std::string> none;
  gpu::emulate({.devices = 4});
  CHECK(exchange_among_threads(gpu::emulated_api(), 2) == none);
  CHECK(exchange_among_threads(gpu::emulated_api(), 4) == none);
  gpu::emulate({});
}

TEST_CASE("gpu ranks: every exchange among this machine's GPUs", "[device]") {
  on_gpu([](Device& d) {
    const int gpus = count_gpus(d.gpu().api()).value_or(1) / 2 * 2;
    if (gpus < 2) {
      std::cout << "skipped: no GPU: a second one\n";
      return;
    }
    CHECK(exchange_among_threads(d.gpu().api(), gpus) == std::vector<std::string>());
  });
}

TEST_CASE("gpu ranks: every exchange among processes gives each rank its numbers", "[.ranks]") {
  on_gpu([](Device& d) {
    const char* const file = std::getenv("NARROWS_ID_FILE");
    REQUIRE(file != nullptr);
    const Ranks r{std::atoi(std::getenv("NARROWS_RANK")), std::atoi(std::getenv("NARROWS_RANKS"))};
    REQUIRE(r.ranks % 2 == 0);
    Device::need(d.gpu().join(r.ranks, r.rank, shared_id(d, r.rank, file)));
    CHECK(exchange_all(d, r) == std::vector<std::string>());
    std::cout << "rank " << r.rank << " of " << r.ranks << ": all exchanges agree\n";
  });
}

}  // namespace narrows::test

// NCCL among processes, each of which runs this test as one rank: scripts/gpu-check starts them
// with NARROWS_RANK, NARROWS_RANKS and NARROWS_ID_FILE, several on one GPU. Hidden from ordinary
// runs.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>

#include "gpu/device.h"

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

}  // namespace

TEST_CASE("gpu ranks: every exchange among processes gives each rank its numbers", "[.ranks]") {
  on_gpu([](Device& d) {
    const char* const file = std::getenv("NARROWS_ID_FILE");
    REQUIRE(file != nullptr);
    const Ranks r{std::atoi(std::getenv("NARROWS_RANK")), std::atoi(std::getenv("NARROWS_RANKS"))};
    REQUIRE(r.ranks % 2 == 0);
    Device::need(d.gpu().join(r.ranks, r.rank, shared_id(d, r.rank, file)));
    for (const gpu::Type type : kTypes) {
      for (const std::int64_t count : {1, 1000, 65536}) {
        for (const gpu::Exchange what :
             {gpu::Exchange::AllReduce, gpu::Exchange::AllGather, gpu::Exchange::ReduceScatter,
              gpu::Exchange::AllToAll, gpu::Exchange::Broadcast, gpu::Exchange::SendReceive}) {
          INFO("exchange " << static_cast<int>(what) << " of " << count << " in " << word(type));
          const bool splits =
              what == gpu::Exchange::ReduceScatter || what == gpu::Exchange::AllToAll;
          std::vector<float> mine;
          for (std::int64_t i = 0; i < (splits ? r.ranks * count : count); ++i)
            mine.push_back(value_of(r.rank, i));
          const std::vector<float> truth = expected(what, r, count);
          const Values in = d.values(type, mine), out = d.result(type, std::ssize(truth));
          const int peer = what == gpu::Exchange::Broadcast ? r.ranks - 1 : r.rank ^ 1;
          d.run(gpu::Collective{what, type, count, in.data(), out.data(), peer});
          CHECK(d.read(out) == truth);
        }
      }
    }
    std::cout << "rank " << r.rank << " of " << r.ranks << ": all exchanges agree\n";
  });
}

}  // namespace narrows::test

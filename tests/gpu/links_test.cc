// Links between GPUs: collectives among threads with a GPU each, and their times by size, on the
// emulation (whose times say nothing) and on the machine's GPUs.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <chrono>
#include <map>

#include "gpu/device.h"
#include "gpu/emulated_module.h"
#include "measure/gpu_link_case.h"
#include "measure/gpu_links.h"
#include "measure/profile.h"
#include "measurement/link_rates.h"

namespace narrows::test {
namespace {

Seconds now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count() * sec;
}

GpuLinkOptions options_of(Bytes largest) {
  GpuLinkOptions options;
  options.rules = {.budget = 120 * sec, .half_width = 10, .least = 2, .most = 3};
  options.largest = largest;
  options.now = now;
  return options;
}

struct Seen {
  std::map<std::string, LinkObservation> rows;
  GpuLinkSummary summary;
};
Seen links(const gpu::Api& api, const GpuLinkOptions& options) {
  Seen seen;
  GpuLinkEvents events;
  bool once = true;
  events.link = [&](const LinkObservation& row) -> Status {
    once = once && seen.rows.emplace(link_key(row.what), row).second;
    return {};
  };
  const Result<GpuLinkSummary> done = profile_gpu_links(api, options, events);
  if (!done) FAIL(done.error().message);
  CHECK(once);
  seen.summary = *done;
  return seen;
}

// The emulated machine, for as long as this lives.
struct Machine {
  explicit Machine(const gpu::Emulated& shape) { gpu::emulate(shape); }
  ~Machine() { gpu::emulate({}); }
};

int count(const Seen& seen, CollectiveKind what, int ranks) {
  int found = 0;
  for (const auto& [key, row] : seen.rows)
    found += row.what.what == what && row.what.ranks == ranks && row.what.method == "nccl";
  return found;
}

}  // namespace

TEST_CASE("gpu links: four GPUs talk in pairs and all together, by size") {
  const Machine machine({.devices = 4});
  const Seen seen = links(gpu::emulated_api(), options_of(4 * KiB));
  CHECK(seen.summary.gpus == 4);
  CHECK(seen.summary.no_collectives.empty());
  // 256 bytes, 1 KiB and 4 KiB of each; messages only in pairs.
  for (const CollectiveKind what :
       {CollectiveKind::AllReduce, CollectiveKind::AllGather, CollectiveKind::ReduceScatter,
        CollectiveKind::AllToAll, CollectiveKind::Broadcast}) {
    CHECK(count(seen, what, 2) == 3);
    CHECK(count(seen, what, 4) == 3);
  }
  CHECK(count(seen, CollectiveKind::SendRecv, 2) == 3);
  CHECK(count(seen, CollectiveKind::SendRecv, 4) == 0);
  CHECK(seen.summary.measured == 3 * (3 + 6 + 5));
  CHECK(std::ssize(seen.rows) == seen.summary.measured);
  for (const auto& [key, row] : seen.rows) {
    INFO(key);
    CHECK(row.what.time > Seconds());
    CHECK(row.spread.samples >= 2);
    CHECK(row.what.ranks_per_node == row.what.ranks);
  }
}

TEST_CASE("gpu links: one GPU is copied to, from and within, and has nobody to talk to") {
  const Machine machine({});
  const Seen seen = links(gpu::emulated_api(), options_of(64 * KiB));
  CHECK(seen.summary.no_collectives == "collectives need two GPUs, and this machine shows one");
  std::map<std::string, int> methods;
  for (const auto& [key, row] : seen.rows) {
    ++methods[row.what.method];
    CHECK(row.what.ranks == 1);
  }
  CHECK(methods ==
        std::map<std::string, int>{{kCopyOnDevice, 5}, {kCopyToDevice, 5}, {kCopyToHost, 5}});
}

TEST_CASE("gpu links: three GPUs have no pairs that leave none alone") {
  const Machine machine({.devices = 3});
  const Seen seen = links(gpu::emulated_api(), options_of(1 * KiB));
  CHECK(count(seen, CollectiveKind::AllReduce, 2) == 0);
  CHECK(count(seen, CollectiveKind::AllReduce, 3) == 2);
  // Bytes of whole elements for each of the three.
  for (const auto& [key, row] : seen.rows) {
    if (row.what.ranks == 3) {
      CHECK((row.what.bytes == 252 * byte || row.what.bytes == 1020 * byte));
    }
  }
}

TEST_CASE("gpu links: without NCCL copies alone are timed, and it is said why") {
  const Machine machine({.devices = 2, .has_nccl = false});
  const Seen seen = links(gpu::emulated_api(), options_of(1 * KiB));
  CHECK(seen.summary.no_collectives == "the emulated device has no NCCL");
  CHECK(seen.summary.measured == 6);
}

TEST_CASE("gpu links: what is known is left out") {
  const Machine machine({.devices = 2});
  GpuLinkOptions options = options_of(1 * KiB);
  const Seen first = links(gpu::emulated_api(), options);
  for (const auto& [key, row] : first.rows) options.known.insert(key);
  options.known.erase(first.rows.begin()->first);
  const Seen second = links(gpu::emulated_api(), options);
  CHECK(second.summary.measured == 1);
  CHECK(second.summary.known == first.summary.measured - 1);
}

TEST_CASE("gpu links: rates are nccl-tests'") {
  LinkMeasurement link;
  link.what = CollectiveKind::AllReduce;
  link.ranks = 8;
  link.bytes = 1 * GB;
  link.time = 4 * ms;
  CHECK(algorithm_bandwidth(link) / (GB / sec) == Approx(250));
  CHECK(bus_bandwidth(link) / (GB / sec) == Approx(250 * 1.75));
  link.what = CollectiveKind::AllToAll;
  CHECK(bus_bandwidth(link) / (GB / sec) == Approx(250 * 0.875));
  link.what = CollectiveKind::Broadcast;
  CHECK(bus_bandwidth(link) / (GB / sec) == Approx(250));
}

TEST_CASE("gpu links: this machine's GPUs", "[device]") {
  on_gpu([](Device& d) {
    const Seen seen = links(d.gpu().api(), options_of(64 * MiB));
    CHECK(seen.summary.measured == seen.summary.cases);
    CHECK(seen.summary.no_collectives.empty() == (seen.summary.gpus > 1));
    for (const auto& [key, row] : seen.rows) {
      if (row.what.bytes < 64 * MiB) continue;
      WARN(key << ": " << algorithm_bandwidth(row.what) / (GB / sec) << " GB/s");
    }
  });
}

}  // namespace narrows::test

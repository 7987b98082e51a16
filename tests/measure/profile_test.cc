// A whole profile: what it hands on, what it leaves out, that it goes on where it stopped.
// SPDX-License-Identifier: Apache-2.0
#include "measure/profile.h"

#include <catch2/catch.hpp>

#include "measure/fake_backend.h"
#include "measure/machine.h"

namespace narrows {
namespace {

std::vector<OpCase> some_matmuls(int count) {
  std::vector<OpCase> cases;
  for (int i = 1; i <= count; ++i)
    cases.push_back(matmul_case(Recipe::F32, {exactly(4.0 * i), 8, 8, 1}));
  return cases;
}

struct Seen {
  std::set<std::string> kernels, links;
  ProfileSummary summary;
};

Seen profile(ProfileOptions options, std::function<void(std::size_t)> after_kernel = {}) {
  Seen seen;
  ProfileEvents events;
  events.kernel = [&](const KernelObservation& row) -> Status {
    CHECK(row.what.time > Seconds());
    CHECK(row.spread.samples > 0);
    CHECK(seen.kernels.insert(key_of(row.what)).second);
    if (after_kernel) after_kernel(seen.kernels.size());
    return {};
  };
  events.link = [&](const LinkObservation& row) -> Status {
    CHECK(row.what.time > Seconds());
    CHECK(seen.links.insert(link_key(row.what)).second);
    return {};
  };
  const Result<ProfileSummary> done = profile_machine(
      options, [] { return std::make_unique<testing::FakeBackend>(); }, events);
  REQUIRE(done);
  seen.summary = *done;
  return seen;
}

}  // namespace

TEST_CASE("profile: every op and every collective of every group is handed on once") {
  ProfileOptions options;
  options.ranks = 4;
  options.rules = {.budget = 600 * sec, .half_width = 10, .least = 1, .most = 1};
  options.links_share = 0.9;
  options.cases = some_matmuls(6);
  options.largest = 4 * KiB;
  const Seen seen = profile(options);
  CHECK(seen.kernels.size() == 6);
  // Groups of two and of four; three sizes; a send only between two.
  CHECK(seen.links.size() == 3 * (6 + 5));
  CHECK(seen.summary.cases == 6 + 33);
  CHECK(seen.summary.measured == 6 + 33);
  CHECK(seen.summary.known == 0);
}

TEST_CASE("profile: after an interruption it goes on with what is missing") {
  ProfileOptions options;
  options.links = false;
  options.rules = {.budget = 600 * sec, .half_width = 10};
  options.cases = some_matmuls(12);
  std::atomic<bool> stop = false;
  options.stop = &stop;
  const Seen first = profile(options, [&](std::size_t count) { stop = count >= 5; });
  CHECK(first.kernels.size() >= 5);
  stop = false;
  options.known = first.kernels;
  const Seen second = profile(options);
  CHECK(second.summary.known == static_cast<int>(first.kernels.size()));
  CHECK(first.kernels.size() + second.kernels.size() == 12);
  for (const std::string& key : second.kernels) CHECK(first.kernels.count(key) == 0);
}

TEST_CASE("profile: the machine's pace goes through the store as rows of its own") {
  const std::vector<KernelObservation> rows = pace_rows({54 * us, 1000, 1.05});
  std::vector<Measurement> stored;
  for (const KernelObservation& row : rows) stored.push_back(row.what);
  const MachinePace pace = pace_in(stored);
  CHECK(pace.calibration / us == Approx(54));
  CHECK(pace.slowest == Approx(1.05));
  CHECK(pace_in({}).calibration == Seconds());
  CHECK(pace_in({}).slowest == 1);
}

TEST_CASE("machine: its name tells the processor, how many there are, and the ranks") {
  const MachineInfo info = machine_info_of(
      "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz\n"
      "flags\t\t: fpu avx512f amx_bf16 amx_tile\n",
      "MemTotal:       24564972 kB\nMemFree: 1 kB\n", 8);
  CHECK(info.processor == "Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz");
  CHECK(info.memory == 24564972 * KiB);
  CHECK(info.has_bf16);
  CHECK(local_chip_name(info, 4) == "intel-xeon-gold-6430-cpu-8cpu-4rank");
  const Machine machine = fingerprint_of(info, 4);
  CHECK(machine.device == info.processor);
  CHECK(machine.chip == local_chip_name(info, 4));
}

TEST_CASE("machine: what the system does not tell has a name all the same") {
  const MachineInfo info = machine_info_of("", "", 0);
  CHECK(info.processors == 1);
  CHECK_FALSE(info.has_bf16);
  CHECK(local_chip_name(info, 2) == "processor-1cpu-2rank");
}

}  // namespace narrows

// Tasks timed on a backend whose times are known.
// SPDX-License-Identifier: Apache-2.0
#include "measure/bench.h"

#include <catch2/catch.hpp>
#include <map>

#include "measure/fake_backend.h"
#include "measure/op_case.h"
#include "runtime/world.h"

namespace narrows {
namespace {

using testing::FakeBackend;

// The matmuls of one rank without others, on the fake's clock.
struct Timing {
  FakeBackend backend;
  RotatingMemory memory{1 * MiB};
  BenchOptions options;
  std::map<int, SampleSummary> results;
  int progressed = 0;

  Timing() {
    options.result = [this](int task, const SampleSummary& s) -> Status {
      results[task] = s;
      return {};
    };
    options.progress = [this](const BenchProgress&) { ++progressed; };
  }
  Status run(const std::vector<OpCase>& cases) {
    std::vector<BenchTask> tasks;
    for (const OpCase& c : cases) {
      tasks.push_back({[this, &c]() -> Status {
        c.run(backend, memory);
        return {};
      }});
    }
    BenchSite site;
    site.now = [this] { return backend.clock; };
    site.calibrate = [this] { run_calibration(backend, memory); };
    return time_tasks(tasks, site, options);
  }
};

std::vector<OpCase> matmuls(int count) {
  std::vector<OpCase> cases;
  for (int i = 1; i <= count; ++i)
    cases.push_back(matmul_case(Recipe::F32, {exactly(16.0 * i), 32, 24, 1}));
  return cases;
}

Seconds truth(const OpCase& c) {
  const MatmulShape& s = c.what.matmul;
  return 2 * s.m.expected * static_cast<double>(s.n * s.k) * FakeBackend::kFlop;
}

}  // namespace

TEST_CASE("bench: the times of a known backend are recovered exactly") {
  Timing timing;
  const std::vector<OpCase> cases = matmuls(12);
  REQUIRE(timing.run(cases));
  REQUIRE(timing.results.size() == cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const SampleSummary& s = timing.results[static_cast<int>(i)];
    CHECK(s.median / truth(cases[i]) == Approx(1).epsilon(1e-6));
    CHECK(s.samples == 5);
  }
  CHECK(timing.progressed == 60);
}

TEST_CASE("bench: phases in which the machine is slow do not reach the results") {
  Timing timing;
  // Every other 7 ms at half speed.
  timing.backend.slowness = [](Seconds now) {
    return static_cast<std::int64_t>(now / (7 * ms)) % 2 == 0 ? 1.0 : 2.0;
  };
  const std::vector<OpCase> cases = matmuls(20);
  REQUIRE(timing.run(cases));
  for (std::size_t i = 0; i < cases.size(); ++i) {
    INFO(i);
    CHECK(timing.results[static_cast<int>(i)].median / truth(cases[i]) == Approx(1).epsilon(0.03));
  }
}

TEST_CASE("bench: it ends within its budget, with what it has") {
  Timing timing;
  timing.options.rules = {.budget = 50 * ms, .half_width = 0, .least = 1000, .most = 1000};
  const std::vector<OpCase> cases = matmuls(10);
  REQUIRE(timing.run(cases));
  CHECK(timing.backend.clock / ms == Approx(50).margin(2));
  CHECK(timing.results.size() == cases.size());
}

TEST_CASE("bench: a short budget times what it can, and says nothing of the rest") {
  Timing timing;
  timing.options.rules.budget = 2 * ms;
  REQUIRE(timing.run(matmuls(50)));
  CHECK(timing.results.size() > 1);
  CHECK(timing.results.size() < 50);
}

TEST_CASE("bench: an interruption keeps what was timed") {
  Timing timing;
  std::atomic<bool> stop = false;
  timing.options.stop = &stop;
  timing.options.progress = [&](const BenchProgress& p) { stop = p.finished == 4; };
  REQUIRE(timing.run(matmuls(10)));
  CHECK(timing.results.size() >= 4);
  CHECK(timing.results.size() <= 10);
}

TEST_CASE("bench: of an op the mean over ranks counts, of a collective the slowest rank") {
  std::map<int, SampleSummary> results;
  const WorldEnd end = run_world({.ranks = 3, .levels = {}}, [&](Communicator& world) -> Status {
    Seconds clock;
    const auto work = [&]() -> Status {
      clock += (world.rank() + 1) * ms;
      return {};
    };
    const std::vector<BenchTask> tasks = {{work, false}, {work, true}};
    BenchSite site;
    site.world = &world;
    site.now = [&] { return clock; };
    BenchOptions options;
    options.result = [&](int task, const SampleSummary& s) -> Status {
      results[task] = s;
      return {};
    };
    return time_tasks(tasks, site, options);
  });
  REQUIRE(end.status);
  CHECK(results[0].median / ms == Approx(2));
  CHECK(results[1].median / ms == Approx(3));
}

TEST_CASE("bench: an error of a task ends it on every rank") {
  const WorldEnd end = run_world({.ranks = 2, .levels = {}}, [&](Communicator& world) -> Status {
    const std::vector<BenchTask> tasks = {{[&]() -> Status {
      if (world.rank() == 1) return io_error("out of luck");
      return {};
    }}};
    BenchSite site;
    site.world = &world;
    site.now = [] { return Seconds(); };
    return time_tasks(tasks, site, {});
  });
  REQUIRE_FALSE(end.status);
  CHECK(end.status.error().message.find("out of luck") != std::string::npos);
}

}  // namespace narrows

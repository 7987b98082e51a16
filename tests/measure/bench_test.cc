// Tasks timed on a backend whose times are known.
// SPDX-License-Identifier: Apache-2.0
#include "measure/bench.h"

#include <catch2/catch.hpp>
#include <map>

#include "measure/fake_backend.h"
#include "measure/op_case.h"
#include "runtime/calibration.h"
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
    Calibration calibration(backend);
    site.calibrate = [&] {
      const Seconds at = backend.clock;
      calibration.run();
      return backend.clock - at;
    };
    TRY(time_tasks(tasks, site, options));
    return {};
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
    CHECK(s.mean / truth(cases[i]) == Approx(1).epsilon(1e-6));
    CHECK(s.samples == 5);
  }
  CHECK(timing.progressed == 60);
}

TEST_CASE("bench: phases in which the machine is slow fall on all tasks alike") {
  Timing timing;
  // Every other 7 ms at half speed.
  timing.backend.slowness = [](Seconds now) {
    return static_cast<std::int64_t>(now / (7 * ms)) % 2 == 0 ? 1.0 : 2.0;
  };
  const std::vector<OpCase> cases = matmuls(20);
  REQUIRE(timing.run(cases));
  const double pace = timing.results[0].mean / truth(cases[0]);
  CHECK(pace > 1.25);
  CHECK(pace < 1.75);
  // A task that is finished early goes by the pace that was known then.
  for (std::size_t i = 1; i < cases.size(); ++i) {
    INFO(i);
    CHECK(timing.results[static_cast<int>(i)].mean / truth(cases[i]) == Approx(pace).epsilon(0.08));
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
    TRY(time_tasks(tasks, site, options));
    return {};
  });
  REQUIRE(end.status);
  CHECK(results[0].mean / ms == Approx(2));
  CHECK(results[1].mean / ms == Approx(3));
}

TEST_CASE("bench: what ranks wait for is how slow the slowest is, window by window") {
  MachinePace pace;
  const WorldEnd end = run_world({.ranks = 2, .levels = {}}, [&](Communicator& world) -> Status {
    Seconds clock;
    int calls = 0;
    const std::vector<BenchTask> tasks = {{[&]() -> Status {
      clock += 1 * ms;
      return {};
    }}};
    BenchSite site;
    site.world = &world;
    site.now = [&] { return clock; };
    // Now one rank is half as fast again as the other, now the other: 1.2 times the mean.
    site.calibrate = [&] {
      const bool mine = (calls++ / 200) % 2 == world.rank();
      return (mine ? 60 : 40) * us;
    };
    BenchOptions options;
    options.rules = {.budget = 1e6 * sec, .half_width = 0, .least = 4800, .most = 4800};
    const MachinePace found = TRY(time_tasks(tasks, site, options));
    if (world.rank() == 0) pace = found;
    return {};
  });
  REQUIRE(end.status);
  CHECK(pace.calibration / us == Approx(50));
  CHECK(pace.calibrations == 4800);
  // Some windows see both.
  CHECK(pace.slowest > 1.15);
  CHECK(pace.slowest <= 1.2001);
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
    TRY(time_tasks(tasks, site, {}));
    return {};
  });
  REQUIRE_FALSE(end.status);
  CHECK(end.status.error().message.find("out of luck") != std::string::npos);
}

}  // namespace narrows

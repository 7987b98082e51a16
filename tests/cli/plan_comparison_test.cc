// Forecast and measurement side by side, on timelines written by hand.
// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_comparison.h"

#include <catch2/catch.hpp>

namespace narrows {
namespace {

constexpr std::int64_t kMs = 1'000'000;

// Three steps of one rank: an instruction F with one matmul in it, then a wait.
struct Steps {
  MeasuredSteps measured;
  Tick now;

  Steps() {
    measured.timeline.op_labels = {
        {.block = "moe", .layer = 1, .name = "up", .kind = "matmul", .direction = "F"},
        {.name = "receive", .kind = "step"}};
  }
  void add(std::int64_t matmul_ms, std::int64_t wait_ms, std::int64_t rest_ms,
           double calibration_us = 0) {
    const Tick begin = now;
    run(0, matmul_ms);
    measured.timeline.spans.push_back({0, 0, "F0", begin, now});
    run(1, wait_ms);
    now += Tick{rest_ms * kMs};
    measured.steps.push_back({to_seconds(now - begin), calibration_us * us});
  }
  void run(int label, std::int64_t length_ms) {
    const Tick end = now + Tick{length_ms * kMs};
    measured.timeline.ops.push_back({0, label, 64, now, end});
    now = end;
  }
};

PlayedPlan forecast() {
  PlayedPlan played;
  Forecast f;
  f.step = 5 * ms;
  f.breakdown = {{"compute", 2 * ms}, {"bubble", 2 * ms}, {"overhead", 1 * ms}};
  played.view.plan.forecast = f;
  played.timeline.spans = {{0, 0, "F0", Tick{0}, Tick{2 * kMs}}};
  played.ops = {{{.block = "moe", .name = "up", .kind = "matmul", .direction = "F"}, 1, 2 * ms}};
  return played;
}

const ComparedTime& row(const std::vector<ComparedTime>& rows, const std::string& name) {
  for (const ComparedTime& r : rows) {
    if (r.name == name) return r;
  }
  FAIL(name << " is missing");
  return rows.front();
}

}  // namespace

TEST_CASE(
    "comparison: work counts without interruptions, waiting with them, the rest is overhead") {
  Steps steps;
  steps.add(1, 1, 8);  // warming up: not a step that counts
  steps.add(4, 1, 0);
  steps.add(1, 4, 0);
  steps.add(1, 1, 3);
  const PlanComparison c = compare_plan(Plan(), forecast(), steps.measured);
  CHECK(c.predicted_step / ms == Approx(5));
  CHECK(c.measured_step / ms == Approx(5));
  const ComparedTime& up = row(c.ops, "moe up F");
  CHECK(up.runs == Approx(1));
  CHECK(up.predicted / ms == Approx(2));
  CHECK(up.measured / ms == Approx(1));
  CHECK(c.slowdown == 0);
  CHECK(row(c.ops, "receive").measured / ms == Approx(2));
  CHECK(c.ops.front().name == "receive");
  CHECK(row(c.phases, "compute").measured / ms == Approx(1));
  CHECK(row(c.phases, "bubble").measured / ms == Approx(2));
  CHECK(row(c.phases, "overhead").measured / ms == Approx(2));
  CHECK(row(c.instructions, "F").predicted / ms == Approx(2));
  CHECK(row(c.instructions, "F").measured / ms == Approx(1));
}

TEST_CASE("comparison: the step of median length is shown alone, from 0 on") {
  Steps steps;
  steps.add(1, 1, 8);
  steps.add(3, 1, 0);
  steps.add(2, 3, 0);
  const Timeline one = middle_step(steps.measured);
  REQUIRE(one.spans.size() == 1);
  CHECK(one.spans[0].start == Tick{0});
  CHECK(one.spans[0].end == Tick{2 * kMs});
  REQUIRE(one.ops.size() == 2);
  CHECK(one.ops[1].end == Tick{5 * kMs});
}

TEST_CASE("comparison: calibrations tell how fast the machine is beside its profile") {
  Steps steps;
  steps.measured.profile_pace = 50 * us;
  steps.add(1, 1, 8, 500);
  for (const double calibration : {60, 80, 70}) steps.add(3, 1, 0, calibration);
  PlanComparison c = compare_plan(Plan(), forecast(), steps.measured);
  CHECK(c.measured_step / ms == Approx(4));
  CHECK(c.slowdown == Approx(1.4));
  CHECK(text_of(c).find("40 % slower than when it was profiled") != std::string::npos);
  CHECK(text_of(c).find("the forecast is 7.0 ms") != std::string::npos);

  steps.measured.profile_pace = 71 * us;
  c = compare_plan(Plan(), forecast(), steps.measured);
  CHECK(text_of(c).find("profiled") == std::string::npos);
}

TEST_CASE("comparison: a forecast from other measurements than the plan's own is said to be one") {
  Steps steps;
  steps.add(2, 2, 1);
  Plan plan;
  plan.forecast = forecast().view.plan.forecast;
  CHECK_FALSE(compare_plan(plan, forecast(), steps.measured).stated_step);
  plan.forecast->step = 7 * ms;
  const PlanComparison c = compare_plan(plan, forecast(), steps.measured);
  CHECK(*c.stated_step / ms == Approx(7));
  CHECK(text_of(c).find("own forecast is 7.0 ms") != std::string::npos);
}

TEST_CASE("comparison: the text names step, phases, instructions and ops with their errors") {
  Steps steps;
  steps.add(2, 2, 1);
  const std::string text = text_of(compare_plan(Plan(), forecast(), steps.measured));
  for (const char* part : {"step", "+0.0 %", "phases, a rank", "instructions, each", "moe up F"})
    CHECK(text.find(part) != std::string::npos);
}

}  // namespace narrows

// What the plan says about schedules against the schedule library itself.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "plan/validate.h"
#include "schedule/library.h"

namespace narrows {
namespace {

// Limits under which only the schedule's own sizes can be wrong.
Limits schedule_limits() {
  Limits limits;
  limits.schedules = ~0u;
  limits.items = 1000;
  limits.most_chunks_per_rank = 100;
  return limits;
}

}  // namespace

TEST_CASE("stages: chunks stand where the generated schedules route them") {
  for (const ScheduleKind kind : all_schedules()) {
    for (int pp = 2; pp <= 8; pp += 2) {
      const Strategy s{
          .pp = pp, .vpp = kind == ScheduleKind::Interleaved ? 3 : 1, .schedule = kind};
      const Result<Schedule> schedule = make_schedule(kind, pp, chunks_per_rank(s), 4 * pp);
      if (!schedule) FAIL(schedule.error().message);
      REQUIRE(schedule->stages() == stages_of(s));
      for (const std::vector<ChunkRef>& route : schedule->routes) {
        for (int stage = 0; stage < stages_of(s); ++stage) {
          const ChunkRef at = route[static_cast<std::size_t>(stage)];
          REQUIRE(stage_of(s, at.rank, at.chunk) == stage);
        }
      }
    }
  }
}

TEST_CASE("rules: a schedule's sizes are allowed exactly where the library generates it") {
  for (const ScheduleKind kind : all_schedules()) {
    for (int pp = 2; pp <= 6; ++pp) {
      for (int m = 1; m <= 16; ++m) {
        Strategy s{.pp = pp, .micro_batches = m, .schedule = kind};
        if (kind == ScheduleKind::Interleaved) s.vpp = 2;
        INFO(to_string(kind) << " pp=" << pp << " micro_batches=" << m);
        CHECK(check_sizes(kind, pp, chunks_per_rank(s), m).has_value() ==
              !broken_schedule_rule(s, schedule_limits()).has_value());
      }
    }
  }
}

}  // namespace narrows

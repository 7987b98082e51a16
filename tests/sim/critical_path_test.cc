// SPDX-License-Identifier: Apache-2.0
#include "sim/critical_path.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "schedule/library.h"
#include "schedule/text.h"

using namespace narrows;

namespace {

constexpr ChunkTimes kTimes{
    .forward = {10}, .input_grad = {10}, .weight_grad = {10}, .backward = {20}};

// "r0 F0, r1 F0 after 3, ...": the chain in words.
std::string words(const Schedule& schedule, const CriticalPath& path) {
  std::string text;
  for (const CriticalLink& link : path.links) {
    const Program& program = schedule.programs[static_cast<std::size_t>(link.rank)];
    if (!text.empty()) text += ", ";
    text += "r" + std::to_string(link.rank) + " " +
            to_text(program[static_cast<std::size_t>(link.index)]);
    if (link.send > Tick{}) text += " after " + std::to_string(link.send.ns);
  }
  return text;
}

std::string chain(const Schedule& schedule, const Durations& durations) {
  const Played played = CompiledSchedule::of(schedule)->play(durations);
  return words(schedule, *critical_path(schedule, durations, played));
}

}  // namespace

TEST_CASE("critical path: down the pipeline, along the last rank, and back") {
  const Schedule schedule = *make_schedule(ScheduleKind::OneFOneB, 3, 1, 2);
  CHECK(chain(schedule, uniform_durations(schedule, kTimes)) ==
        "r0 F0, r1 F0, r2 F0, r2 B0, r2 F1, r2 B1, r1 B1, r0 B1");
  CHECK(chain(schedule, uniform_durations(schedule, kTimes, {}, {3})) ==
        "r0 F0, r1 F0 after 3, r2 F0 after 3, r2 B0, r2 F1, r2 B1, r1 B1 after 3, r0 B1 after 3");
}

TEST_CASE("critical path: it runs through the rank that is slow") {
  const Schedule schedule = *make_schedule(ScheduleKind::GPipe, 2, 1, 3);
  Durations durations = uniform_durations(schedule, kTimes);
  durations.chunk[0][0].forward = {50};
  CHECK(chain(schedule, durations) == "r0 F0, r0 F1, r0 F2, r1 F2, r1 B0, r0 B0, r0 B1, r0 B2");
}

TEST_CASE("critical path: links follow without a gap and add up to the makespan") {
  Random random(13);
  const auto draw = [&] { return Tick{random.between(0, 30)}; };
  for (const ScheduleKind kind : all_schedules()) {
    for (int trial = 0; trial < 20; ++trial) {
      const Schedule schedule = *make_schedule(kind, 4, fixed_chunks(kind).value_or(2), 8);
      Durations durations = uniform_durations(schedule, {});
      for (auto& chunks : durations.chunk) {
        for (ChunkTimes& times : chunks) times = {draw(), draw(), draw(), draw()};
      }
      for (auto& forwards : durations.pair) {
        for (auto& backwards : forwards)
          backwards = {static_cast<std::size_t>(schedule.chunks_per_rank), draw()};
      }
      for (auto& hop : durations.forward_send[0]) hop = draw();
      for (auto& hop : durations.backward_send[0]) hop = draw();
      const Played played = CompiledSchedule::of(schedule)->play(durations);
      const CriticalPath path = *critical_path(schedule, durations, played);
      Tick now;
      for (const CriticalLink& link : path.links) {
        CHECK(now + link.send == link.start);
        now = link.end;
      }
      CHECK(now == played.makespan);
      CHECK(total(path.table) == played.makespan);
      CHECK(path.links.back().rank == last_rank(played));
    }
  }
}

TEST_CASE("critical path: making any of its instructions longer makes the step longer") {
  const Schedule schedule = *make_schedule(ScheduleKind::ZbH1, 4, 1, 8);
  Durations durations = uniform_durations(schedule, kTimes, {}, {2});
  CompiledSchedule compiled = *CompiledSchedule::of(schedule);
  const Played played = compiled.play(durations);
  const CriticalPath path = *critical_path(schedule, durations, played);
  for (const CriticalLink& link : path.links) {
    Durations longer = durations;
    ChunkTimes& times = longer.chunk[static_cast<std::size_t>(link.rank)][0];
    const Program& program = schedule.programs[static_cast<std::size_t>(link.rank)];
    const Action action = program[static_cast<std::size_t>(link.index)].action;
    (action == Action::Forward     ? times.forward
     : action == Action::InputGrad ? times.input_grad
                                   : times.weight_grad) += Tick{1};
    CHECK(compiled.makespan(longer) > played.makespan);
  }
}

TEST_CASE("time table: what a rank ran and waited is the makespan") {
  const Schedule schedule = *make_schedule(ScheduleKind::DualPipe, 8, 2, 24);
  const Durations durations = uniform_durations(schedule, kTimes, {30}, {1});
  const Played played = CompiledSchedule::of(schedule)->play(durations);
  const std::vector<TimeTable> tables = time_tables(schedule, played);
  for (std::size_t rank = 0; rank < tables.size(); ++rank) {
    CHECK(total(tables[rank]) == played.makespan);
    CHECK(tables[rank].waiting == played.makespan - played.busy[rank]);
    CHECK(played.busy[rank] == Tick{24 * 30});
  }
  // Rank 0 of p = 8: F 3H-1 = 11, pairs 2(m/2 - p) + H + 1 = 13, B H = 4, I and W p - 1 = 7.
  CHECK(tables[0].forward == Tick{11 * 10});
  CHECK(tables[0].pair == Tick{13 * 30});
  CHECK(tables[0].backward == Tick{4 * 20});
  CHECK(tables[0].input_grad == Tick{7 * 10});
  CHECK(tables[0].weight_grad == Tick{7 * 10});
}

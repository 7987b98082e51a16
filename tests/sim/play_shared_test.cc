// Ranks that share processors: a small calculus by hand, and laws over random schedules.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "base/random.h"
#include "schedule/library.h"
#include "sim/play.h"

namespace narrows {
namespace {

ChunkTimes chunk_times(std::int64_t f, std::int64_t i, std::int64_t w) {
  return {.forward = {f}, .input_grad = {i}, .weight_grad = {w}, .backward = {i + w}};
}

struct Ready {
  Schedule schedule;
  CompiledSchedule compiled;
};
Ready made(ScheduleKind kind, int ranks, int chunks, int micro_batches) {
  Schedule schedule = *make_schedule(kind, ranks, chunks, micro_batches);
  CompiledSchedule compiled = *CompiledSchedule::of(schedule);
  return {std::move(schedule), std::move(compiled)};
}

Durations random_durations(const Schedule& schedule, Random& random) {
  Durations durations = uniform_durations(schedule, {});
  for (auto& chunks : durations.chunk) {
    for (ChunkTimes& t : chunks) {
      t = chunk_times(random.between(1, 2000), random.between(1, 2000), random.between(1, 2000));
    }
  }
  for (auto& hops : durations.forward_send) {
    for (Tick& t : hops) t = {random.between(0, 300)};
  }
  return durations;
}

constexpr ScheduleKind kKinds[] = {ScheduleKind::GPipe, ScheduleKind::OneFOneB, ScheduleKind::ZbH1};

}  // namespace

// Two stages, one micro-batch, F 10 and B 20: never do both run, so that each goes twice as fast.
TEST_CASE("shared play: a rank that is alone goes as fast as the processors allow") {
  const Ready r = made(ScheduleKind::OneFOneB, 2, 1, 1);
  const Durations d = uniform_durations(r.schedule, chunk_times(10, 10, 10));
  CHECK(r.compiled.play_shared(d, 1).makespan == Tick{60});
  CHECK(r.compiled.play_shared(d, 2).makespan == Tick{30});
  CHECK(r.compiled.play_shared(d, 1.5).makespan == Tick{40});
  // No more than all of the machine: two stages are half of it each.
  CHECK(r.compiled.play_shared(d, 4).makespan == Tick{30});
}

// F F B B on both; by hand: 0-5 one alone, 5-15 both (F1 of the first, F0 of the second) …
TEST_CASE("shared play: while both run nothing is gained, while one waits the other gains") {
  const Ready r = made(ScheduleKind::GPipe, 2, 1, 2);
  const Durations d = uniform_durations(r.schedule, chunk_times(10, 10, 10));
  const Played played = r.compiled.play_shared(d, 2);
  CHECK(played.start[1][0] == Tick{5});
  CHECK(played.end[1][0] == Tick{15});  // beside the first rank's second F
  CHECK(played.end[1][1] == Tick{20});  // alone
  CHECK(played.end[1][2] == Tick{30});  // B, alone
  CHECK(played.end[1][3] == Tick{50});  // beside the first rank's B
  CHECK(played.makespan == Tick{60});   // its second B, alone
  CHECK(played.busy[0] == Tick{5 + 10 + 20 + 10});
}

TEST_CASE("shared play: between the times of ranks alone and of ranks that never leave a share") {
  Random random(5);
  for (int round = 0; round < 400; ++round) {
    const ScheduleKind kind = kKinds[random.below(3)];
    const int ranks = static_cast<int>(random.between(2, 5));
    const Ready r = made(kind, ranks, 1, static_cast<int>(random.between(2, 9)));
    const Durations d = random_durations(r.schedule, random);
    const double alone = 1 + random.uniform() * (ranks - 1);
    const Tick fixed = r.compiled.play(d).makespan,
               shared = r.compiled.play_shared(d, alone).makespan;
    CAPTURE(round, to_string(kind), ranks, alone);
    CHECK(r.compiled.play_shared(d, 1).makespan == fixed);
    CHECK(shared <= fixed + Tick{1});
    CHECK(static_cast<double>(shared.ns) * alone + 1 >= static_cast<double>(fixed.ns));
    Tick work;
    for (const Tick busy : r.compiled.play(d).busy) work += busy;
    CHECK(shared.ns * ranks + ranks >= work.ns);
  }
}

TEST_CASE("shared play: instructions keep their order and wait for their inputs") {
  Random random(6);
  for (int round = 0; round < 100; ++round) {
    const Ready r = made(kKinds[random.below(3)], 4, 1, 6);
    const Played played = r.compiled.play_shared(random_durations(r.schedule, random), 2);
    for (std::size_t rank = 0; rank < played.end.size(); ++rank) {
      for (std::size_t i = 0; i < played.end[rank].size(); ++i) {
        CHECK(played.start[rank][i] <= played.end[rank][i]);
        if (i > 0) CHECK(played.end[rank][i - 1] <= played.start[rank][i]);
      }
      // The first forward of a stage comes after that of the stage before.
      if (rank > 0) CHECK(played.start[rank][0] >= played.end[rank - 1][0]);
    }
  }
}

}  // namespace narrows

// The compact profile of a schedule against its instructions: memory exactly, time as a bound.
// SPDX-License-Identifier: Apache-2.0
#include "planner/schedule_profile.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "schedule/library.h"
#include "sim/live.h"

namespace narrows {
namespace {

struct Sizes {
  ScheduleKind kind;
  int ranks, chunks, micro_batches;
};

// Every schedule of the library with few ranks and micro-batches.
std::vector<Sizes> small_schedules() {
  std::vector<Sizes> all;
  for (const ScheduleKind kind : all_schedules()) {
    for (int ranks = 1; ranks <= 6; ++ranks) {
      for (int chunks = 1; chunks <= 3; ++chunks) {
        for (int m = 1; m <= 14; ++m) {
          if (check_sizes(kind, ranks, chunks, m)) all.push_back({kind, ranks, chunks, m});
        }
      }
    }
  }
  return all;
}

Schedule made(const Sizes& s) {
  Result<Schedule> schedule = make_schedule(s.kind, s.ranks, s.chunks, s.micro_batches);
  if (!schedule) FAIL(schedule.error().message);
  return std::move(*schedule);
}

Tick draw(Random& random, std::int64_t most) { return {random.between(1, most)}; }

// Backward as one instruction is I then W, as everywhere in the planner.
Durations random_durations(Random& random, const Schedule& schedule) {
  const std::int64_t longest = random.below(3) == 0 ? 10 : 150;  // pairs can be shorter than halves
  Durations d;
  const auto chunks = static_cast<std::size_t>(schedule.chunks_per_rank);
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    std::vector<ChunkTimes>& times = d.chunk.emplace_back();
    for (std::size_t c = 0; c < chunks; ++c) {
      const Tick f = draw(random, 60), i = draw(random, 60), w = draw(random, 60);
      times.push_back({f, i, w, i + w});
    }
    auto& pairs = d.pair.emplace_back(chunks, std::vector<Tick>(chunks));
    for (auto& row : pairs) {
      for (Tick& pair : row) pair = draw(random, longest);
    }
  }
  const std::int64_t latency = random.between(0, 1) == 0 ? 0 : 40;
  for (const auto& route : schedule.routes) {
    auto& forward = d.forward_send.emplace_back();
    auto& backward = d.backward_send.emplace_back();
    for (std::size_t hop = 0; hop + 1 < route.size(); ++hop) {
      forward.push_back({random.between(0, latency)});
      backward.push_back({random.between(0, latency)});
    }
  }
  return d;
}

LiveBytes random_bytes(Random& random, const Schedule& schedule) {
  LiveBytes live;
  const auto draw = [&] { return static_cast<double>(random.between(0, 1000)) * byte; };
  const auto chunks = static_cast<std::size_t>(schedule.chunks_per_rank);
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    auto& bytes = live.chunk.emplace_back();
    for (std::size_t c = 0; c < chunks; ++c)
      bytes.push_back({draw(), draw(), draw(), draw(), draw(), draw(), draw()});
    auto& pairs = live.pair.emplace_back(chunks, std::vector<Bytes>(chunks));
    for (auto& row : pairs) {
      for (Bytes& pair : row) pair = draw();
    }
  }
  return live;
}

template <typename Check>
void for_random_cases(std::uint64_t seed, int cases, Check check) {
  Random random(seed);
  const std::vector<Sizes> sizes = small_schedules();
  for (int round = 0; round < cases; ++round) {
    const Sizes& s = sizes[random.below(sizes.size())];
    CAPTURE(round, to_string(s.kind), s.ranks, s.chunks, s.micro_batches);
    const Schedule schedule = made(s);
    check(random, schedule);
  }
}

Tick makespan_of(const Schedule& schedule, const Durations& durations) {
  Result<CompiledSchedule> compiled = CompiledSchedule::of(schedule);
  if (!compiled) FAIL(compiled.error().message);
  return compiled->makespan(durations);
}

}  // namespace

TEST_CASE("schedule profile: memory peaks equal those of the instructions") {
  for_random_cases(1, 10000, [](Random& random, const Schedule& schedule) {
    const ScheduleProfile profile = profile_of(schedule);
    const LiveBytes live = random_bytes(random, schedule);
    const std::vector<Bytes> peaks = live_peaks(schedule, live);
    for (std::size_t rank = 0; rank < peaks.size(); ++rank) {
      const Bytes peak = live_peak(profile.ranks[rank], live.chunk[rank], live.pair[rank]);
      if (peak != peaks[rank]) {
        CAPTURE(rank);
        CHECK(peak / byte == peaks[rank] / byte);
      }
    }
  });
}

TEST_CASE("schedule profile: no playing is below the bound") {
  int tight = 0;
  for_random_cases(2, 10000, [&](Random& random, const Schedule& schedule) {
    const Durations durations = random_durations(random, schedule);
    const Tick bound = lower_bound(profile_of(schedule), durations);
    const Tick makespan = makespan_of(schedule, durations);
    if (bound > makespan) CHECK(bound.ns <= makespan.ns);
    tight += bound == makespan;
  });
  CHECK(tight > 500);  // it is met, too
}

TEST_CASE("schedule profile: no playing on shared processors is below the bound") {
  int tight = 0;
  for_random_cases(3, 3000, [&](Random& random, const Schedule& schedule) {
    const Durations durations = random_durations(random, schedule);
    const double alone = 1 + 3 * random.uniform();
    const Tick bound = lower_bound(profile_of(schedule), durations, alone);
    Result<CompiledSchedule> compiled = CompiledSchedule::of(schedule);
    const Tick makespan = compiled->play_shared(durations, alone).makespan;
    if (bound > makespan) CHECK(bound.ns <= makespan.ns);
    tight += 10 * bound.ns >= 9 * makespan.ns;
  });
  CHECK(tight > 100);
}

TEST_CASE("schedule profile: the bound of uniform 1F1B and interleaved is the makespan") {
  for (const Sizes& s : small_schedules()) {
    if (s.kind != ScheduleKind::OneFOneB && s.kind != ScheduleKind::Interleaved) continue;
    if (s.micro_batches < s.ranks) continue;
    const Schedule schedule = made(s);
    for (const auto& [f, i, w] : {std::tuple{1, 1, 1}, {10, 12, 8}, {7, 3, 1}}) {
      const Durations durations =
          uniform_durations(schedule, {Tick{f}, Tick{i}, Tick{w}, Tick{i + w}});
      CAPTURE(to_string(s.kind), s.ranks, s.chunks, s.micro_batches, f, i, w);
      CHECK(lower_bound(profile_of(schedule), durations).ns == makespan_of(schedule, durations).ns);
    }
  }
}

TEST_CASE("schedule profile: profiles by key are those of the schedules, long ones too") {
  ScheduleProfiles profiles;
  for (const Sizes& s : {Sizes{ScheduleKind::OneFOneB, 4, 1, 200},
                         {ScheduleKind::Interleaved, 4, 3, 120},
                         {ScheduleKind::ZbH1, 4, 1, 101},
                         {ScheduleKind::ZbH2, 3, 1, 90},
                         {ScheduleKind::ZbV, 4, 2, 77},
                         {ScheduleKind::DualPipe, 4, 2, 100},
                         {ScheduleKind::DualPipeV, 4, 2, 99},
                         {ScheduleKind::GPipe, 3, 1, 64}}) {
    CAPTURE(to_string(s.kind));
    const ScheduleProfile* known = profiles.get(s.kind, s.ranks, s.chunks, s.micro_batches);
    REQUIRE(known != nullptr);
    CHECK(profiles.get(s.kind, s.ranks, s.chunks, s.micro_batches) == known);
    const Schedule schedule = made(s);
    Random random(static_cast<std::uint64_t>(s.micro_batches));
    for (int round = 0; round < 5; ++round) {
      const Durations durations = random_durations(random, schedule);
      CHECK(lower_bound(*known, durations).ns == lower_bound(profile_of(schedule), durations).ns);
      CHECK(lower_bound(*known, durations) <= makespan_of(schedule, durations));
      const LiveBytes live = random_bytes(random, schedule);
      const std::vector<Bytes> peaks = live_peaks(schedule, live);
      for (std::size_t rank = 0; rank < peaks.size(); ++rank) {
        CHECK(live_peak(known->ranks[rank], live.chunk[rank], live.pair[rank]) / byte ==
              peaks[rank] / byte);
      }
    }
  }
  CHECK(profiles.get(ScheduleKind::DualPipe, 3, 2, 6) == nullptr);
}

}  // namespace narrows

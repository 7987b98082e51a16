// SPDX-License-Identifier: Apache-2.0
#include "sim/play.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/random.h"
#include "data/golden_schedules.h"
#include "schedule/library.h"

using namespace narrows;

namespace {

Durations durations_of(const Schedule& schedule, golden::Times times) {
  const double share =
      schedule.kind == ScheduleKind::Interleaved ? 1.0 / schedule.chunks_per_rank : 1.0;
  const ChunkTimes chunk{.forward = golden::ticks(times.forward * share),
                         .input_grad = golden::ticks(times.input_grad * share),
                         .weight_grad = golden::ticks(times.weight_grad * share),
                         .backward = golden::ticks((times.input_grad + times.weight_grad) * share)};
  return uniform_durations(schedule, chunk, golden::ticks(times.pair), golden::ticks(times.send));
}

void check_makespans(const golden::Case& expected) {
  const Schedule schedule = expected.schedule();
  CompiledSchedule compiled = *CompiledSchedule::of(schedule);
  for (std::size_t i = 0; i < std::size(golden::kTimes); ++i) {
    INFO(expected.name() << ", case "
                         << "abcdef"[i]);
    const Durations durations = durations_of(schedule, golden::kTimes[i]);
    CHECK(compiled.makespan(durations).ns == golden::ticks(expected.makespans[i]).ns);
    CHECK(compiled.play(durations).makespan == compiled.makespan(durations));
  }
}

std::int64_t makespan_of(ScheduleKind kind, int ranks, int chunks, int micro_batches,
                         ChunkTimes times, Tick pair = {}) {
  const Schedule schedule = *make_schedule(kind, ranks, chunks, micro_batches);
  return CompiledSchedule::of(schedule)->makespan(uniform_durations(schedule, times, pair)).ns;
}

ChunkTimes chunk_times(std::int64_t f, std::int64_t i, std::int64_t w) {
  return {.forward = {f}, .input_grad = {i}, .weight_grad = {w}, .backward = {i + w}};
}

Tick draw(Random& random) { return {random.between(0, 20)}; }

Durations random_durations(const Schedule& schedule, Random& random) {
  Durations durations = uniform_durations(schedule, {});
  for (auto& chunks : durations.chunk) {
    for (ChunkTimes& times : chunks) {
      times = {.forward = draw(random),
               .input_grad = draw(random),
               .weight_grad = draw(random),
               .backward = draw(random)};
    }
  }
  for (auto& forwards : durations.pair) {
    for (auto& backwards : forwards) {
      for (Tick& t : backwards) t = draw(random);
    }
  }
  for (auto* sends : {&durations.forward_send, &durations.backward_send}) {
    for (auto& hops : *sends) {
      for (Tick& t : hops) t = draw(random);
    }
  }
  return durations;
}

std::vector<Tick*> all_ticks(Durations& durations) {
  std::vector<Tick*> all;
  for (auto& chunks : durations.chunk) {
    for (ChunkTimes& times : chunks) {
      for (Tick* t : {&times.forward, &times.input_grad, &times.weight_grad, &times.backward})
        all.push_back(t);
    }
  }
  for (auto& forwards : durations.pair) {
    for (auto& backwards : forwards) {
      for (Tick& t : backwards) all.push_back(&t);
    }
  }
  for (auto* sends : {&durations.forward_send, &durations.backward_send}) {
    for (auto& hops : *sends) {
      for (Tick& t : hops) all.push_back(&t);
    }
  }
  return all;
}

// Every p up to 10 and m up to 24 that the kind takes.
template <typename Check>
void for_small_sizes(ScheduleKind kind, int chunks, Check check) {
  for (int p = 1; p <= 10; ++p) {
    for (int m = 1; m <= 24; ++m) {
      if (!check_sizes(kind, p, chunks, m)) continue;
      INFO(to_string(kind) << " p=" << p << " v=" << chunks << " m=" << m);
      check(p, m);
    }
  }
}

}  // namespace

TEST_CASE("play: makespans of the small golden cases are exact") {
  for (const golden::Case& expected : golden::small_cases()) check_makespans(expected);
}

TEST_CASE("play: makespans of the large golden cases are exact") {
  for (const golden::Case& expected : golden::large_cases()) check_makespans(expected);
}

TEST_CASE("play: pictures of the small golden cases") {
  for (const golden::Case& expected : golden::small_cases()) {
    INFO(expected.name());
    const Schedule schedule = expected.schedule();
    const Played played =
        CompiledSchedule::of(schedule)->play(durations_of(schedule, golden::kTimes[0]));
    const bool halves = expected.kind == ScheduleKind::Interleaved;
    const Tick cell{halves ? golden::kUnit / 2 : golden::kUnit};
    CHECK(picture(to_timeline(schedule, played),
                  {.cell = cell, .width = halves ? 3 : 4, .cells_a_mark = halves ? 2 : 1}) ==
          expected.picture);
  }
}

TEST_CASE("play: gpipe and 1f1b take (m + p - 1)(F + B)") {
  for (const ScheduleKind kind : {ScheduleKind::GPipe, ScheduleKind::OneFOneB}) {
    for_small_sizes(kind, 1, [&](int p, int m) {
      CHECK(makespan_of(kind, p, 1, m, chunk_times(3, 5, 2)) == (m + p - 1) * 10);
    });
  }
}

TEST_CASE("play: interleaved takes m(F + B) + (p - 1)(F + B)/v") {
  for (int v = 2; v <= 4; ++v) {
    for_small_sizes(ScheduleKind::Interleaved, v, [&](int p, int m) {
      CHECK(makespan_of(ScheduleKind::Interleaved, p, v, m, chunk_times(3, 5, 2)) ==
            m * v * 10 + (p - 1) * 10);
    });
  }
}

TEST_CASE("play: zb-h1 takes m(F + B) + (p - 1)(F + I - W) while W is least and m >= p") {
  for_small_sizes(ScheduleKind::ZbH1, 1, [&](int p, int m) {
    if (m < p) return;
    CHECK(makespan_of(ScheduleKind::ZbH1, p, 1, m, chunk_times(3, 5, 2)) == m * 10 + (p - 1) * 6);
    CHECK(makespan_of(ScheduleKind::ZbH1, p, 1, m, chunk_times(1, 1, 1)) == m * 3 + (p - 1) * 1);
  });
}

TEST_CASE("play: idle of DualPipe is (PP/2 - 1)(F&B + B - 3W) when F = I = W and F&B = F + B") {
  for_small_sizes(ScheduleKind::DualPipe, 2, [&](int p, int m) {
    CHECK(makespan_of(ScheduleKind::DualPipe, p, 2, m, chunk_times(1, 1, 1), {3}) ==
          3 * m + (p / 2 - 1) * 2);
  });
  for_small_sizes(ScheduleKind::DualPipeV, 2, [&](int p, int m) {
    CHECK(makespan_of(ScheduleKind::DualPipeV, p, 2, m, chunk_times(1, 1, 1), {3}) ==
          6 * m + (p - 1) * 2);
  });
}

TEST_CASE("play: idle of DualPipe is at most the closed form while W <= F <= I") {
  Random random(7);
  for (int trial = 0; trial < 300; ++trial) {
    const std::int64_t w = random.between(1, 20);
    const std::int64_t f = w + random.between(0, 20);
    const std::int64_t i = f + random.between(0, 20);
    const int p = 2 * static_cast<int>(random.between(1, 5));
    const int m = 2 * p + 2 * static_cast<int>(random.between(0, 5));
    INFO(p << " " << m << ": " << f << " " << i << " " << w);
    CHECK(makespan_of(ScheduleKind::DualPipe, p, 2, m, chunk_times(f, i, w), {f + i + w}) <=
          m * (f + i + w) + (p / 2 - 1) * (f + 2 * i - w));
  }
}

TEST_CASE("play: no rank of zb-h2 or zb-v idles inside its own span when F = I = W") {
  const ChunkTimes times = chunk_times(1, 1, 1);
  for (const ScheduleKind kind : {ScheduleKind::ZbH2, ScheduleKind::ZbV}) {
    for_small_sizes(kind, *fixed_chunks(kind), [&](int p, int m) {
      if (m < 2 * p) return;
      const Schedule schedule = *make_schedule(kind, p, *fixed_chunks(kind), m);
      const Played played =
          CompiledSchedule::of(schedule)->play(uniform_durations(schedule, times));
      for (std::size_t rank = 0; rank < played.busy.size(); ++rank) {
        CHECK(played.end[rank].back() - played.start[rank].front() == played.busy[rank]);
      }
      CHECK(played.makespan.ns == 3 * schedule.chunks_per_rank * m + p - 1);
    });
  }
}

TEST_CASE("play: the makespan never falls when a duration grows") {
  Random random(3);
  for (const ScheduleKind kind : all_schedules()) {
    const Schedule schedule = *make_schedule(kind, 4, fixed_chunks(kind).value_or(2), 8);
    CompiledSchedule compiled = *CompiledSchedule::of(schedule);
    for (int trial = 0; trial < 10; ++trial) {
      Durations durations = random_durations(schedule, random);
      const Tick before = compiled.makespan(durations);
      bool some_grow = false;
      for (Tick* t : all_ticks(durations)) {
        *t += {7};
        const Tick after = compiled.makespan(durations);
        CHECK(after >= before);
        some_grow = some_grow || after > before;
        *t -= {7};
      }
      CHECK(some_grow);
    }
  }
}

TEST_CASE("play: every instruction starts when its rank is free and its inputs have arrived") {
  Random random(5);
  for (const ScheduleKind kind : all_schedules()) {
    const Schedule schedule = *make_schedule(kind, 4, fixed_chunks(kind).value_or(3), 8);
    const ScheduleGraph graph = *graph_of(schedule);
    const CompiledSchedule compiled = *CompiledSchedule::of(schedule);
    const Durations durations = random_durations(schedule, random);
    const Played played = compiled.play(durations);
    const auto end = [&](int node) {
      const ScheduleNode& from = graph.nodes[static_cast<std::size_t>(node)];
      return played.end[static_cast<std::size_t>(from.rank)][static_cast<std::size_t>(from.index)];
    };
    Tick last;
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const ScheduleNode& node = graph.nodes[n];
      Tick expected = node.index == 0 ? Tick{} : end(static_cast<int>(n) - 1);
      const auto wait = [&](const Arrival& arrival, const std::vector<std::vector<Tick>>& sends) {
        if (arrival.from < 0) return;
        Tick there = end(arrival.from);
        if (arrival.hop >= 0)
          there +=
              sends[static_cast<std::size_t>(arrival.route)][static_cast<std::size_t>(arrival.hop)];
        expected = std::max(expected, there);
      };
      wait(node.forward, durations.forward_send);
      wait(node.backward, durations.backward_send);
      CHECK(
          played.start[static_cast<std::size_t>(node.rank)][static_cast<std::size_t>(node.index)] ==
          expected);
      last = std::max(last, end(static_cast<int>(n)));
    }
    CHECK(played.makespan == last);
  }
}

TEST_CASE("play: a hop inside a rank is free") {
  const Schedule schedule = *make_schedule(ScheduleKind::DualPipeV, 2, 2, 4);
  Durations durations = uniform_durations(schedule, chunk_times(1, 1, 1), {3});
  CompiledSchedule compiled = *CompiledSchedule::of(schedule);
  const Tick before = compiled.makespan(durations);
  durations.forward_send[0][1] = {100};
  durations.backward_send[0][1] = {100};
  CHECK(compiled.makespan(durations) == before);
  durations.forward_send[0][0] = {100};
  CHECK(compiled.makespan(durations) >= before + Tick{100});
}

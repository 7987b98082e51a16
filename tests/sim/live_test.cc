// SPDX-License-Identifier: Apache-2.0
#include "sim/live.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/random.h"
#include "data/golden_schedules.h"
#include "schedule/library.h"
#include "schedule/text.h"

using namespace narrows;

namespace {

std::vector<int> all_of(const std::vector<LiveChunks>& live) {
  std::vector<int> all;
  for (const LiveChunks& rank : live) all.push_back(rank.all);
  return all;
}

Schedule one_rank(int chunks, int micro_batches, const std::string& program) {
  Schedule schedule{
      .chunks_per_rank = chunks, .micro_batches = micro_batches, .routes = {{}}, .programs = {}};
  for (int chunk = 0; chunk < chunks; ++chunk)
    schedule.routes[0].push_back({.rank = 0, .chunk = chunk});
  schedule.programs.push_back(*parse_program(program));
  return schedule;
}

// Digits of the sum say what is held: a unit of each kind is another power of ten.
const ChunkBytes kDigits{.f_to_i = 1 * byte,
                         .f_to_w = 10 * byte,
                         .i_to_w = 100 * byte,
                         .forward = 1000 * byte,
                         .input_grad = 2000 * byte,
                         .weight_grad = 3000 * byte,
                         .backward = 4000 * byte};

std::vector<double> curve(const Schedule& schedule, const LiveBytes& bytes) {
  std::vector<double> held;
  const std::vector<std::vector<Bytes>> live = live_bytes(schedule, bytes);
  for (const Bytes b : live[0]) held.push_back(b / byte);
  return held;
}

LiveBytes random_bytes(const Schedule& schedule, Random& random) {
  const auto draw = [&] { return static_cast<double>(random.below(100)) * byte; };
  LiveBytes bytes;
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    bytes.chunk.emplace_back();
    bytes.pair.emplace_back();
    for (int chunk = 0; chunk < schedule.chunks_per_rank; ++chunk) {
      bytes.chunk.back().push_back({draw(), draw(), draw(), draw(), draw(), draw(), draw()});
      bytes.pair.back().emplace_back();
      for (int back = 0; back < schedule.chunks_per_rank; ++back)
        bytes.pair.back().back().push_back(draw());
    }
  }
  return bytes;
}

// Where on a rank an action of (chunk, micro-batch) is, alone or in a pair.
std::size_t find(const Program& program, std::initializer_list<Action> actions, int chunk,
                 int batch) {
  for (std::size_t i = 0; i < program.size(); ++i) {
    for (const Action action : actions) {
      const Instruction& what = program[i];
      const bool pair = what.action == Action::Pair;
      if (what.action == action && what.chunk == chunk && what.micro_batch == batch) return i;
      if (pair && action == Action::Forward && what.chunk == chunk && what.micro_batch == batch)
        return i;
      if (pair && action == Action::Backward && what.back_chunk == chunk &&
          what.back_micro_batch == batch)
        return i;
    }
  }
  return program.size();
}

// Brute force: at each instruction, asks every (chunk, micro-batch) whether its interval covers it.
Bytes held_at(const Schedule& schedule, const LiveBytes& bytes, std::size_t rank, std::size_t now) {
  const Program& program = schedule.programs[rank];
  Bytes held;
  for (int chunk = 0; chunk < schedule.chunks_per_rank; ++chunk) {
    const ChunkBytes& of = bytes.chunk[rank][static_cast<std::size_t>(chunk)];
    for (int batch = 0; batch < schedule.micro_batches_of_route(); ++batch) {
      const std::size_t f = find(program, {Action::Forward}, chunk, batch);
      const std::size_t i = find(program, {Action::InputGrad, Action::Backward}, chunk, batch);
      const std::size_t w = find(program, {Action::WeightGrad, Action::Backward}, chunk, batch);
      if (f <= now && now <= i) held += of.f_to_i;
      if (f <= now && now <= w) held += of.f_to_w;
      if (i < now && now <= w) held += of.i_to_w;
    }
  }
  const Instruction& what = program[now];
  const ChunkBytes& of = bytes.chunk[rank][static_cast<std::size_t>(what.chunk)];
  switch (what.action) {
    case Action::Forward:
      return held + of.forward;
    case Action::InputGrad:
      return held + of.input_grad;
    case Action::WeightGrad:
      return held + of.weight_grad;
    case Action::Backward:
      return held + of.backward;
    case Action::Pair:
      break;
  }
  return held + bytes.pair[rank][static_cast<std::size_t>(what.chunk)]
                          [static_cast<std::size_t>(what.back_chunk)];
}

}  // namespace

TEST_CASE("live chunks: peaks of the golden cases, released by I and by W") {
  std::vector<golden::Case> cases = golden::small_cases();
  const std::vector<golden::Case> large = golden::large_cases();
  cases.insert(cases.end(), large.begin(), large.end());
  for (const golden::Case& expected : cases) {
    INFO(expected.name());
    const Schedule schedule = expected.schedule();
    CHECK(all_of(live_chunks(schedule, Release::InputGrad)) == expected.live_until_input_grad);
    CHECK(all_of(live_chunks(schedule, Release::WeightGrad)) == expected.live_until_weight_grad);
  }
}

TEST_CASE("live chunks: interleaved holds p(v + 1) - 1 chunks on rank 0") {
  for (int p = 1; p <= 8; ++p) {
    for (int v = 2; v <= 5; ++v) {
      const Schedule schedule = *make_schedule(ScheduleKind::Interleaved, p, v, 4 * p);
      CHECK(live_chunks(schedule, Release::InputGrad)[0].all == p * (v + 1) - 1);
    }
  }
}

TEST_CASE("live chunks: DualPipe holds p + 1 on every rank, DualPipeV 2p + 1") {
  for (int p = 2; p <= 16; p += 2) {
    const Schedule schedule = *make_schedule(ScheduleKind::DualPipe, p, 2, 4 * p);
    for (const LiveChunks& live : live_chunks(schedule, Release::WeightGrad))
      CHECK(live.all == p + 1);
  }
  for (int p = 2; p <= 8; ++p) {
    const Schedule schedule = *make_schedule(ScheduleKind::DualPipeV, p, 2, 4 * p);
    for (const LiveChunks& live : live_chunks(schedule, Release::WeightGrad))
      CHECK(live.all == 2 * p + 1);
  }
}

TEST_CASE("live chunks: each chunk has a peak of its own") {
  const Schedule schedule = one_rank(2, 2, "F0 F1 f0 f1 b0 B0 b1 B1");
  CHECK(live_chunks(schedule, Release::InputGrad) ==
        std::vector<LiveChunks>{{.all = 4, .of_chunk = {2, 2}}});
  const Schedule turns = one_rank(2, 2, "F0 f0 i0 I0 F1 f1 b1 B1 w0 W0");
  CHECK(live_chunks(turns, Release::InputGrad) ==
        std::vector<LiveChunks>{{.all = 2, .of_chunk = {1, 1}}});
  CHECK(live_chunks(turns, Release::WeightGrad) ==
        std::vector<LiveChunks>{{.all = 4, .of_chunk = {2, 2}}});
}

TEST_CASE("live bytes: what is kept lives from F to I, F to W and I to W") {
  const LiveBytes bytes{.chunk = {{kDigits}}, .pair = {}};
  CHECK(curve(one_rank(1, 2, "F0 F1 I0 W0 B1"), bytes) ==
        std::vector<double>{1011, 1022, 2022, 3121, 4011});
}

TEST_CASE("live bytes: a pair holds its forward's from its start and its backward's to its end") {
  const LiveBytes bytes{.chunk = {{kDigits}}, .pair = {{{5000 * byte}}}};
  CHECK(curve(one_rank(1, 2, "F0 F1&B0 B1"), bytes) == std::vector<double>{1011, 5022, 4011});
}

TEST_CASE("live bytes: peaks are those of a brute force over lifetimes") {
  Random random(11);
  for (const ScheduleKind kind : all_schedules()) {
    const Schedule schedule = *make_schedule(kind, 4, fixed_chunks(kind).value_or(3), 12);
    const LiveBytes bytes = random_bytes(schedule, random);
    const std::vector<std::vector<Bytes>> live = live_bytes(schedule, bytes);
    const std::vector<Bytes> peaks = live_peaks(schedule, bytes);
    for (std::size_t rank = 0; rank < live.size(); ++rank) {
      INFO(to_string(kind) << ", rank " << rank);
      for (std::size_t i = 0; i < live[rank].size(); ++i) {
        CHECK(live[rank][i] / byte == held_at(schedule, bytes, rank, i) / byte);
      }
      CHECK(peaks[rank] == *std::max_element(live[rank].begin(), live[rank].end()));
    }
  }
}

TEST_CASE("live bytes: samples on a timeline end with nothing held") {
  const Schedule schedule = *make_schedule(ScheduleKind::OneFOneB, 2, 1, 2);
  const ChunkTimes times{.forward = {1}, .input_grad = {1}, .weight_grad = {1}, .backward = {2}};
  const Played played = CompiledSchedule::of(schedule)->play(uniform_durations(schedule, times));
  Timeline timeline = to_timeline(schedule, played);
  const LiveBytes bytes{.chunk = {{{.f_to_i = 1 * byte}}, {{.f_to_w = 10 * byte}}}, .pair = {}};
  add_memory(schedule, bytes, played, timeline);
  // Rank 0 runs F0 F1 . . B0 . B1 with a gap before each B; rank 1 starts at 1 and never stops.
  const std::vector<MemorySample> expected = {
      {0, {0}, 1 * byte},  {0, {1}, 2 * byte},  {0, {2}, 2 * byte},  {0, {4}, 2 * byte},
      {0, {6}, 1 * byte},  {0, {7}, 1 * byte},  {0, {9}, 0 * byte},  {1, {1}, 10 * byte},
      {1, {2}, 10 * byte}, {1, {4}, 10 * byte}, {1, {5}, 10 * byte}, {1, {7}, 0 * byte}};
  CHECK(timeline.memory == expected);
}

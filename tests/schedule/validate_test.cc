// SPDX-License-Identifier: Apache-2.0
#include "schedule/validate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>

#include "base/random.h"
#include "schedule/library.h"
#include "schedule/text.h"

using namespace narrows;

namespace {

// One chunk a rank, a rank a line.
Schedule schedule_of_text(int micro_batches, const std::string& text) {
  Schedule schedule{.programs = *parse_programs(text)};
  schedule.ranks = static_cast<int>(schedule.programs.size());
  schedule.micro_batches = micro_batches;
  schedule.routes.emplace_back();
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    schedule.routes.front().push_back({.rank = rank, .chunk = 0});
  }
  return schedule;
}

std::string complaint(const Schedule& schedule) {
  const Status valid = validate(schedule);
  return valid ? "valid" : valid.error().message;
}
std::string complaint(int micro_batches, const std::string& text) {
  return complaint(schedule_of_text(micro_batches, text));
}

std::vector<Schedule> examples() {
  std::vector<Schedule> all;
  for (const ScheduleKind kind : all_schedules()) {
    all.push_back(*make_schedule(kind, 4, fixed_chunks(kind).value_or(2), 8));
  }
  return all;
}

}  // namespace

TEST_CASE("validator: each rule that a rank breaks is named") {
  CHECK(complaint(2, "rank 0: F0 F1 B0 I1 W1") == "valid");
  CHECK(complaint(2, "rank 0: F0 F1 B0") == "rank 0: chunk 0 has no backward of micro-batch 1");
  CHECK(complaint(2, "rank 0: F0 B0") == "rank 0: chunk 0 has no forward of micro-batch 1");
  CHECK(complaint(1, "rank 0: F0 I0") == "rank 0: chunk 0 has no weight gradient of micro-batch 0");
  CHECK(complaint(1, "rank 0: F0 F0 B0") == "rank 0: F0 at 1: its forward has run");
  CHECK(complaint(1, "rank 0: B0 F0") == "rank 0: B0 at 0: its forward has not run");
  CHECK(complaint(1, "rank 0: F0 W0 I0") == "rank 0: W0 at 1: its input gradient has not run");
  CHECK(complaint(1, "rank 0: F0 I0 B0") == "rank 0: B0 at 2: its backward has run");
  CHECK(complaint(1, "rank 0: F0 B0 W0") == "rank 0: W0 at 2: its weight gradient has run");
  CHECK(complaint(1, "rank 0: F0 B0 F1") == "rank 0: F1 at 2: no such micro-batch");
  CHECK(complaint(1, "rank 0: F0 b0") == "rank 0: b0 at 1: no such chunk");
}

TEST_CASE("validator: a program too short for its micro-batches is refused at once") {
  CHECK(complaint(2'000'000'000, "rank 0: F0 B0") ==
        "rank 0: 2 instructions are fewer than 1 chunks x 2000000000 micro-batches");
}

TEST_CASE("validator: a pair is a forward with another micro-batch's backward") {
  CHECK(complaint(2, "rank 0: F0 F1&B0 B1") == "valid");
  CHECK(complaint(1, "rank 0: F0&B0") == "rank 0: F0&B0 at 0: its forward has not run");
  Schedule half = schedule_of_text(1, "rank 0: F0 B0");
  half.programs[0][1].back_chunk = 0;
  CHECK(complaint(half) == "rank 0: B0 at 1: only a pair has a second half");
}

TEST_CASE("validator: ranks that wait for each other are a deadlock") {
  CHECK(complaint(2, "rank 0: F0 F1 B0 B1\nrank 1: F0 B0 F1 B1") == "valid");
  CHECK(complaint(2, "rank 0: F0 B0 F1 B1\nrank 1: F0 F1 B0 B1") ==
        "rank 0: B0 at 1: deadlock, what it waits for can never run");
}

TEST_CASE("validator: routes visit every chunk of every rank once") {
  Schedule schedule = schedule_of_text(1, "rank 0: F0 B0\nrank 1: F0 B0");
  schedule.routes[0][1] = {.rank = 0, .chunk = 0};
  CHECK(complaint(schedule) == "routes visit chunk 0 of rank 0 twice");
  schedule.routes[0][1] = {.rank = 2, .chunk = 0};
  CHECK(complaint(schedule) == "a route visits rank 2");
  schedule.routes[0][1] = {.rank = 1, .chunk = 1};
  CHECK(complaint(schedule) == "a route visits chunk 1 of rank 1");
  schedule.routes[0].pop_back();
  CHECK(complaint(schedule) == "routes have 1 stages together, expected 2");
  schedule.routes = {{{.rank = 0, .chunk = 0}}, {{.rank = 1, .chunk = 0}}};
  CHECK(complaint(schedule) == "1 micro-batches are not a multiple of 2 routes");
  schedule.routes.clear();
  CHECK(complaint(schedule) == "expected at least one route");
  schedule = schedule_of_text(1, "rank 0: F0 B0\nrank 1: F0 B0");
  schedule.programs.pop_back();
  CHECK(complaint(schedule) == "expected 2 programs, found 1");
}

TEST_CASE("validator: no instruction can be dropped or run twice") {
  for (const Schedule& valid : examples()) {
    for (std::size_t rank = 0; rank < valid.programs.size(); ++rank) {
      for (std::size_t i = 0; i < valid.programs[rank].size(); ++i) {
        INFO(to_string(valid.kind) << ", rank " << rank << ", instruction " << i);
        const auto place = static_cast<std::ptrdiff_t>(i);
        Schedule dropped = valid;
        dropped.programs[rank].erase(dropped.programs[rank].begin() + place);
        CHECK(complaint(dropped) != "valid");
        Schedule doubled = valid;
        doubled.programs[rank].insert(doubled.programs[rank].begin() + place,
                                      valid.programs[rank][i]);
        CHECK(complaint(doubled) != "valid");
      }
    }
  }
}

TEST_CASE("validator: swapped instructions pass only if every rank's order can still run") {
  // The oracle is a slow replay: one instruction at a time, of any rank whose next inputs are
  // there.
  const auto runs = [](const Schedule& schedule) {
    using Key = std::vector<int>;  // kind, route, stage, micro-batch
    std::vector<Key> done;
    const auto has = [&](const Key& key) {
      return std::find(done.begin(), done.end(), key) != done.end();
    };
    const auto stop = [&](int rank, int chunk) {
      for (int route = 0; route < static_cast<int>(schedule.routes.size()); ++route) {
        for (int stage = 0; stage < schedule.stages(); ++stage) {
          const ChunkRef at =
              schedule.routes[static_cast<std::size_t>(route)][static_cast<std::size_t>(stage)];
          if (at == ChunkRef{.rank = rank, .chunk = chunk}) return std::pair(route, stage);
        }
      }
      return std::pair(-1, -1);
    };
    const auto ready = [&](Action action, int rank, int chunk, int batch) {
      const auto [route, stage] = stop(rank, chunk);
      if (action == Action::Forward) return stage == 0 || has({0, route, stage - 1, batch});
      if (action == Action::WeightGrad) return has({1, route, stage, batch});
      return has({0, route, stage, batch}) &&
             (stage == schedule.stages() - 1 || has({1, route, stage + 1, batch}));
    };
    const auto finish = [&](Action action, int rank, int chunk, int batch) {
      const auto [route, stage] = stop(rank, chunk);
      done.push_back({action == Action::Forward      ? 0
                      : action == Action::WeightGrad ? 2
                                                     : 1,
                      route, stage, batch});
    };
    std::vector<std::size_t> next(schedule.programs.size(), 0);
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t rank = 0; rank < next.size(); ++rank) {
        if (next[rank] == schedule.programs[rank].size()) continue;
        const Instruction& what = schedule.programs[rank][next[rank]];
        const int r = static_cast<int>(rank);
        const bool pair = what.action == Action::Pair;
        const Action first = pair ? Action::Forward : what.action;
        if (!ready(first, r, what.chunk, what.micro_batch)) continue;
        if (pair && !ready(Action::Backward, r, what.back_chunk, what.back_micro_batch)) continue;
        finish(first, r, what.chunk, what.micro_batch);
        if (pair) finish(Action::Backward, r, what.back_chunk, what.back_micro_batch);
        ++next[rank];
        moved = true;
      }
    }
    for (std::size_t rank = 0; rank < next.size(); ++rank) {
      if (next[rank] != schedule.programs[rank].size()) return false;
    }
    return true;
  };
  Random random(1);
  int refused = 0;
  for (const Schedule& valid : examples()) {
    CHECK(runs(valid));
    for (int trial = 0; trial < 60; ++trial) {
      Schedule swapped = valid;
      Program& program = swapped.programs[random.below(swapped.programs.size())];
      const std::size_t i = random.below(program.size());
      const std::size_t j = random.below(program.size());
      std::swap(program[i], program[j]);
      INFO(to_text(swapped.programs));
      CHECK((complaint(swapped) == "valid") == runs(swapped));
      refused += complaint(swapped) != "valid" ? 1 : 0;
    }
  }
  CHECK(refused > 200);
  CHECK(refused < 480);
}

// SPDX-License-Identifier: Apache-2.0
#include "schedule/library.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "data/golden_schedules.h"
#include "schedule/text.h"
#include "schedule/validate.h"

using namespace narrows;

namespace {

std::string refusal(ScheduleKind kind, int ranks, int chunks, int micro_batches) {
  const Result<Schedule> made = make_schedule(kind, ranks, chunks, micro_batches);
  return made ? "made" : made.error().message;
}

// The rows of a DualPipe program in the columns of the recorded tables.
std::string csv_of(const Schedule& schedule) {
  std::string csv = "rank,seq,op,fwd_dir,bwd_dir,fwd_microbatch,bwd_microbatch\r\n";
  for (std::size_t rank = 0; rank < schedule.programs.size(); ++rank) {
    for (std::size_t i = 0; i < schedule.programs[rank].size(); ++i) {
      const Instruction& what = schedule.programs[rank][i];
      const int chunk = what.chunk;
      const int batch = what.micro_batch;
      csv += fmt::format("{},{},", rank, i);
      if (what.action == Action::Forward) {
        csv += fmt::format("F,{},,{},\r\n", chunk, batch);
      } else if (what.action == Action::Pair) {
        csv +=
            fmt::format("FB,{},{},{},{}\r\n", chunk, what.back_chunk, batch, what.back_micro_batch);
      } else {
        const std::string_view name = what.action == Action::Backward    ? "B"
                                      : what.action == Action::InputGrad ? "Bz"
                                                                         : "W";
        csv += fmt::format("{},,{},,{}\r\n", name, chunk, batch);
      }
    }
  }
  return csv;
}

}  // namespace

TEST_CASE("library: small schedules are the golden lists, instruction by instruction") {
  for (const golden::Case& expected : golden::small_cases()) {
    INFO(expected.name());
    CHECK(to_text(expected.schedule().programs) == expected.programs);
  }
}

TEST_CASE("library: DualPipe runs what DeepSeek's step() runs") {
  CHECK(csv_of(*make_schedule(ScheduleKind::DualPipe, 8, 2, 20)) ==
        golden::content("dualpipe_8x20.csv"));
  CHECK(csv_of(*make_schedule(ScheduleKind::DualPipe, 16, 2, 120)) ==
        golden::content("dualpipe_16x120.csv"));
}

TEST_CASE("library: every size that is not refused gives a valid schedule") {
  int made = 0;
  for (const ScheduleKind kind : all_schedules()) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      for (int chunks = 1; chunks <= 4; ++chunks) {
        for (int micro_batches = 1; micro_batches <= 20; ++micro_batches) {
          const Result<Schedule> schedule = make_schedule(kind, ranks, chunks, micro_batches);
          if (!schedule) continue;
          ++made;
          INFO(to_string(kind) << " " << ranks << " " << chunks << " " << micro_batches);
          const Status valid = validate(*schedule);
          CHECK((valid ? "" : valid.error().message) == "");
        }
      }
    }
  }
  // Five kinds without rules on micro-batches, then interleaved, DualPipe, DualPipeV.
  const int multiples = 20 + 10 + 6 + 5 + 4 + 3 + 2 + 2 + 2;
  CHECK(made ==
        5 * 9 * 20 + 3 * multiples + (9 + 7 + 5 + 3) + (19 + 17 + 15 + 13 + 11 + 9 + 7 + 5 + 3));
}

TEST_CASE("library: a refusal names the rule") {
  CHECK(refusal(ScheduleKind::Interleaved, 4, 2, 10) ==
        "interleaved: 10 micro-batches are not a multiple of 4 ranks");
  CHECK(refusal(ScheduleKind::Interleaved, 4, 1, 8) ==
        "interleaved: expected 2 to 1024 chunks a rank, found 1");
  CHECK(refusal(ScheduleKind::OneFOneB, 4, 2, 8) == "1f1b: expected 1 chunk a rank, found 2");
  CHECK(refusal(ScheduleKind::DualPipe, 8, 1, 20) == "dualpipe: expected 2 chunks a rank, found 1");
  CHECK(refusal(ScheduleKind::DualPipe, 7, 2, 20) == "dualpipe: 7 ranks are not an even number");
  CHECK(refusal(ScheduleKind::DualPipe, 8, 2, 21) ==
        "dualpipe: 21 micro-batches are not an even number");
  CHECK(refusal(ScheduleKind::DualPipeV, 8, 2, 15) ==
        "dualpipev: 15 micro-batches are fewer than twice 8 ranks");
  CHECK(refusal(ScheduleKind::GPipe, 0, 1, 8) == "gpipe: expected 1 to 16384 ranks, found 0");
  CHECK(refusal(ScheduleKind::GPipe, 4, 1, 0) == "gpipe: expected at least 1 micro-batch, found 0");
  CHECK(refusal(ScheduleKind::GPipe, 16384, 1, 2000000000) ==
        "gpipe: 16384 ranks x 1 chunks x 2000000000 micro-batches are too many to list");
}

TEST_CASE("schedule: names read back, and others are not known") {
  for (const ScheduleKind kind : all_schedules()) CHECK(schedule_of(to_string(kind)) == kind);
  CHECK(all_schedules().size() == 8);
  CHECK_FALSE(schedule_of("1F1B"));
  CHECK_FALSE(schedule_of("v-half"));
}

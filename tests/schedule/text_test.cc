// SPDX-License-Identifier: Apache-2.0
#include "schedule/text.h"

#include <catch2/catch.hpp>

#include "schedule/library.h"

using namespace narrows;

TEST_CASE("program text: what is written reads back the same, up to four chunks a rank") {
  for (const ScheduleKind kind : all_schedules()) {
    const Schedule schedule = *make_schedule(kind, 4, fixed_chunks(kind).value_or(4), 12);
    const std::string text = to_text(schedule.programs);
    CHECK(*parse_programs(text) == schedule.programs);
  }
}

TEST_CASE("program text: letters are actions, small letters the second chunk") {
  const Program program = *parse_program("F0 i12 W3.2  F4&b1");
  REQUIRE(program.size() == 4);
  CHECK(program[1] == Instruction{.action = Action::InputGrad, .chunk = 1, .micro_batch = 12});
  CHECK(program[2] == Instruction{.action = Action::WeightGrad, .chunk = 2, .micro_batch = 3});
  CHECK(program[3] == Instruction{.action = Action::Pair,
                                  .chunk = 0,
                                  .micro_batch = 4,
                                  .back_chunk = 1,
                                  .back_micro_batch = 1});
  CHECK(to_text(program) == "F0 i12 W3.2 F4&b1");
}

TEST_CASE("program text: what is not an instruction is refused and quoted") {
  for (const std::string word : {"", "F", "X1", "F-1", "F01", "F99999999999", "F1.1", "f1.2", "F1.",
                                 "F1&F2", "F1&w2", "B1&F2", "F1&B2&B3", "F1 ", "F1x", "&", "F1&"}) {
    INFO(word);
    const Result<Instruction> parsed = parse_instruction(word);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().message ==
          "expected an instruction such as \"F0\", \"w1\" or \"F3&b1\", found \"" + word + "\"");
  }
  CHECK(parse_programs("rank 0: F0\nrank 2: F0\n").error().message ==
        "expected a line that begins \"rank 1:\", found \"rank 2: F0\"");
  CHECK(
      parse_programs("rank 0: Q\n").error().message.starts_with("rank 0: expected an instruction"));
}

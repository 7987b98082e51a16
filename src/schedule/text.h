// Programs as text: `F0 F1 i0 w0 F3&b1`. A letter for the action (F I W B), capital for chunk 0 and
// small for chunk 1, then the micro-batch; chunks from 2 on are written out after a point (`F0.2`
// is chunk 2). `F3&b1` is a pair: the forward of chunk 0 with the backward of chunk 1. Plan files
// and tests speak this language.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schedule/schedule.h"

namespace narrows {

std::string to_text(const Instruction& instruction);
std::string to_text(const Program& program);
// "rank 0: F0 B0\nrank 1: F0 B0\n".
std::string to_text(const std::vector<Program>& programs);

// The inverses; InvalidInput quotes the word that is not an instruction, or the line.
Result<Instruction> parse_instruction(std::string_view word);
Result<Program> parse_program(std::string_view text);
Result<std::vector<Program>> parse_programs(std::string_view text);

}  // namespace narrows

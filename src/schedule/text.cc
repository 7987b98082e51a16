// SPDX-License-Identifier: Apache-2.0
#include "schedule/text.h"

#include <fmt/format.h>

#include <charconv>

namespace narrows {

namespace {

constexpr std::string_view kLetters = "FIWB";  // in the order of Action

std::string half_text(Action action, int chunk, int micro_batch) {
  const char capital = kLetters[static_cast<std::size_t>(action)];
  if (chunk == 1) return fmt::format("{}{}", static_cast<char>(capital + 'a' - 'A'), micro_batch);
  if (chunk > 1) return fmt::format("{}{}.{}", capital, micro_batch, chunk);
  return fmt::format("{}{}", capital, micro_batch);
}

// A whole number without sign, or leading zeros that would not read back the same.
bool take_number(std::string_view& word, int& number) {
  const bool digit = !word.empty() && word.front() >= '0' && word.front() <= '9';
  if (!digit) return false;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  const std::size_t length = static_cast<std::size_t>(end - word.data());
  if (error != std::errc{} || (word.front() == '0' && length > 1)) return false;
  word.remove_prefix(length);
  return true;
}

bool take_half(std::string_view& word, Instruction& half) {
  if (word.empty()) return false;
  const bool small = word.front() >= 'a';
  const char capital = small ? static_cast<char>(word.front() - 'a' + 'A') : word.front();
  const std::size_t action = kLetters.find(capital);
  if (action == std::string_view::npos) return false;
  half.action = static_cast<Action>(action);
  half.chunk = small ? 1 : 0;
  word.remove_prefix(1);
  if (!take_number(word, half.micro_batch)) return false;
  if (word.empty() || word.front() != '.') return true;
  word.remove_prefix(1);
  return !small && take_number(word, half.chunk) && half.chunk > 1;
}

bool take_instruction(std::string_view word, Instruction& instruction) {
  if (!take_half(word, instruction)) return false;
  if (word.empty()) return true;
  Instruction back;
  if (instruction.action != Action::Forward || word.front() != '&') return false;
  word.remove_prefix(1);
  if (!take_half(word, back) || !word.empty() || back.action != Action::Backward) return false;
  instruction.action = Action::Pair;
  instruction.back_chunk = back.chunk;
  instruction.back_micro_batch = back.micro_batch;
  return true;
}

std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return head;
}

}  // namespace

std::string to_text(const Instruction& instruction) {
  if (instruction.action != Action::Pair) {
    return half_text(instruction.action, instruction.chunk, instruction.micro_batch);
  }
  return half_text(Action::Forward, instruction.chunk, instruction.micro_batch) + "&" +
         half_text(Action::Backward, instruction.back_chunk, instruction.back_micro_batch);
}

std::string to_text(const Program& program) {
  std::string text;
  for (const Instruction& instruction : program) {
    if (!text.empty()) text += ' ';
    text += to_text(instruction);
  }
  return text;
}

std::string to_text(const std::vector<Program>& programs) {
  std::string text;
  for (std::size_t rank = 0; rank < programs.size(); ++rank) {
    text += fmt::format("rank {}: {}\n", rank, to_text(programs[rank]));
  }
  return text;
}

Result<Instruction> parse_instruction(std::string_view word) {
  Instruction instruction;
  if (take_instruction(word, instruction)) return instruction;
  return invalid(fmt::format(
      "expected an instruction such as \"F0\", \"w1\" or \"F3&b1\", found \"{}\"", word));
}

Result<Program> parse_program(std::string_view text) {
  Program program;
  while (!text.empty()) {
    const std::string_view word = take_until(text, ' ');
    if (!word.empty()) program.push_back(TRY(parse_instruction(word)));
  }
  return program;
}

Result<std::vector<Program>> parse_programs(std::string_view text) {
  std::vector<Program> programs;
  while (!text.empty()) {
    const std::string_view line = take_until(text, '\n');
    const std::string head = fmt::format("rank {}:", programs.size());
    if (!line.starts_with(head)) {
      return invalid(fmt::format("expected a line that begins \"{}\", found \"{}\"", head, line));
    }
    Result<Program> program = parse_program(line.substr(head.size()));
    if (!program) return tl::unexpected(program.error().within(head.substr(0, head.size() - 1)));
    programs.push_back(std::move(*program));
  }
  return programs;
}

}  // namespace narrows

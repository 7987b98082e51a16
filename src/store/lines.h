// Small readers of line-oriented text: lines, words, fields.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace narrows {

// Takes the next line off `rest`, without its end; false if there is none.
inline bool next_line(std::string_view& rest, std::string_view& line) {
  if (rest.empty()) return false;
  const std::size_t end = rest.find('\n');
  line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return true;
}

// Gives each line to `reader.line`, then what `reader.finish` makes of them; stops at the first
// complaint.
template <typename Reader>
auto read_lines(std::string_view text, Reader reader) -> decltype(reader.finish()) {
  std::string_view line;
  while (next_line(text, line)) TRY(reader.line(line));
  return reader.finish();
}

inline std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Without what a launcher writes in front of a rank's line: "[1,0]<stdout>:" of mpirun
// --tag-output, "3: " of srun --label.
inline std::string_view without_label(std::string_view line) {
  constexpr std::string_view kOut = "<stdout>:";
  const std::size_t tag = line.find(kOut);
  if (line.starts_with('[') && tag < 80) return line.substr(tag + kOut.size());
  const std::size_t first = line.find_first_not_of(' ');
  const std::size_t end = line.find_first_not_of("0123456789", first);
  const bool is_label = first != std::string_view::npos && end != std::string_view::npos &&
                        end > first && line.substr(end, 2) == ": ";
  return is_label ? line.substr(end + 2) : line;
}

// Between blanks and tabs.
inline std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos) return words;
    line.remove_prefix(first);
    const std::size_t end = line.find_first_of(" \t");
    words.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return words;
    line.remove_prefix(end);
  }
}

inline std::vector<std::string_view> fields_of(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  for (;;) {
    const std::size_t end = line.find(separator);
    fields.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + 1);
  }
}

// The whole text as a finite number.
inline std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc{} || end != last || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "report/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace narrows {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t from = 0;
  while (from < text.size()) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    lines.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return lines;
}

std::string padded(const std::string& cell, std::size_t width, char alignment) {
  const std::string space(width - std::min(width, columns_of(cell)), ' ');
  return alignment == 'r' ? space + cell : cell + space;
}

void trim_end(std::string& line) {
  while (!line.empty() && line.back() == ' ') line.pop_back();
}

}  // namespace

std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  }));
}

TextTable& TextTable::row(std::vector<std::string> cells) {
  rows_.push_back(std::move(cells));
  return *this;
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths(alignment_.size(), 0);
  for (const auto& cells : rows_) {
    for (std::size_t c = 0; c < cells.size(); ++c)
      widths[c] = std::max(widths[c], columns_of(cells[c]));
  }
  std::string out;
  for (const auto& cells : rows_) {
    std::string line(static_cast<std::size_t>(indent_), ' ');
    for (std::size_t c = 0; c < cells.size(); ++c) {
      if (c > 0) line += "  ";
      line += padded(cells[c], widths[c], alignment_[c]);
    }
    trim_end(line);
    out += line + "\n";
  }
  return out;
}

std::string side_by_side(const std::string& left, const std::string& right, int gap) {
  const std::vector<std::string> a = lines_of(left);
  const std::vector<std::string> b = lines_of(right);
  std::size_t width = 0;
  for (const std::string& line : a) width = std::max(width, columns_of(line));
  std::string out;
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    std::string line = padded(i < a.size() ? a[i] : "", width, 'l');
    if (i < b.size()) line += std::string(static_cast<std::size_t>(gap), ' ') + b[i];
    trim_end(line);
    out += line + "\n";
  }
  return out;
}

std::string wrapped(const std::string& words, int indent, int width) {
  const std::string space(static_cast<std::size_t>(indent), ' ');
  std::string out, line;
  std::size_t from = 0;
  while (from < words.size()) {
    const std::size_t end = std::min(words.find(' ', from), words.size());
    const std::string word = words.substr(from, end - from);
    from = end + 1;
    if (!line.empty() &&
        columns_of(line) + 1 + columns_of(word) > static_cast<std::size_t>(width - indent)) {
      out += space + line + "\n";
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  if (!line.empty()) out += space + line + "\n";
  return out;
}

std::string duration_text(Seconds t) {
  const double s = t / sec;
  if (s >= 1000) return number_text(s) + " s";
  if (s >= 1 || s == 0) return fmt::format("{:.2f} s", s);
  if (s >= 1e-3) return fmt::format("{:.1f} ms", s * 1e3);
  return fmt::format("{:.1f} us", s * 1e6);
}

std::string gib_text(Bytes bytes) {
  if (bytes >= 1000 * GiB) return number_text(bytes / GiB) + " GiB";
  return fmt::format("{:.2f} GiB", bytes / GiB);
}

std::string percent_text(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string difference_text(double share) { return fmt::format("{:+.1f} %", 100 * share); }

std::string number_text(double n) {
  if (n < 0) return "-" + number_text(-n);
  if (n < 10) return fmt::format("{:.2f}", n);
  if (n < 1000) return fmt::format("{:.1f}", n);
  double unit = 1;
  while (n >= 10000 * unit) unit *= 10;
  return with_commas(static_cast<std::int64_t>(std::floor(n / unit + 0.5) * unit));
}

std::string dollars_text(double dollars) {
  if (dollars < 1000) return fmt::format("${:.2f}", dollars);
  return "$" + number_text(dollars);
}

}  // namespace narrows

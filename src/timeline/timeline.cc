// SPDX-License-Identifier: Apache-2.0
#include "timeline/timeline.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"

namespace narrows {

namespace {

constexpr std::size_t kLeastMargin = 6;  // columns left of the picture, for "time" and "r0"

struct Cells {
  std::int64_t first = 0;
  std::int64_t end = 0;
};

std::int64_t to_cell(Tick t, Tick cell) { return (2 * t.ns + cell.ns) / (2 * cell.ns); }

Cells cells_of(const TimeSpan& span, Tick cell) {
  return {.first = to_cell(span.start, cell), .end = to_cell(span.end, cell)};
}

// One character of room between neighbours, so that names stay apart.
int least_width(const Timeline& timeline, Tick cell) {
  int width = 3;
  for (const TimeSpan& span : timeline.spans) {
    const auto [first, end] = cells_of(span, cell);
    if (first == end) continue;
    const std::int64_t room = static_cast<std::int64_t>(span.name.size()) + 1;
    width = std::max(width, static_cast<int>((room + end - first - 1) / (end - first)));
  }
  return width;
}

std::string trimmed(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

// The line above: 0, 1, 2, ... over every mark.
std::string marks(std::size_t margin, std::int64_t cells, const PictureStyle& style) {
  const std::size_t room =
      static_cast<std::size_t>(style.width) * static_cast<std::size_t>(style.cells_a_mark);
  std::string line = fmt::format("{:<{}}", "time", margin);
  for (std::int64_t cell = 0; cell < cells; cell += style.cells_a_mark) {
    line += fmt::format("{:<{}}", cell / style.cells_a_mark, room);
  }
  return trimmed(line);
}

struct Row {
  std::string label;
  std::vector<const TimeSpan*> spans;
};

std::vector<Row> rows_of(const Timeline& timeline) {
  const std::size_t streams = timeline.streams.size();
  std::vector<Row> rows(static_cast<std::size_t>(timeline.ranks) * streams);
  std::size_t margin = kLeastMargin;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].label = fmt::format("r{}", i / streams);
    if (streams > 1) rows[i].label += " " + timeline.streams[i % streams];
    margin = std::max(margin, rows[i].label.size() + 1);
  }
  for (Row& row : rows) row.label.resize(margin, ' ');
  for (const TimeSpan& span : timeline.spans) {
    const std::size_t row =
        static_cast<std::size_t>(span.rank) * streams + static_cast<std::size_t>(span.stream);
    ASSERT(row < rows.size());
    rows[row].spans.push_back(&span);
  }
  return rows;
}

std::string wide_row(const Row& row, const PictureStyle& style, std::int64_t cells) {
  const std::size_t width = static_cast<std::size_t>(style.width);
  std::string line;
  for (std::int64_t i = 0; i < cells; ++i) line += fmt::format("{:<{}}", '.', width);
  for (const TimeSpan* span : row.spans) {
    const auto [first, end] = cells_of(*span, style.cell);
    if (first == end) continue;
    const std::size_t room = static_cast<std::size_t>(end - first) * width - 1;
    const std::string text = fmt::format("{:-<{}} ", span->name.substr(0, room), room);
    line.replace(static_cast<std::size_t>(first) * width, text.size(), text);
  }
  return trimmed(row.label + line);
}

char letter(const TimeSpan& span) {
  if (span.name.find('&') != std::string::npos) return '&';
  return span.name.empty() ? '?' : span.name.front();
}

std::string small_row(const Row& row, Tick cell, std::int64_t cells) {
  std::string line(static_cast<std::size_t>(cells), '.');
  for (const TimeSpan* span : row.spans) {
    // Cells whose middle lies in [start, end).
    const auto [first, end] = cells_of(*span, cell);
    for (std::int64_t i = first; i < std::min(end, cells); ++i)
      line[static_cast<std::size_t>(i)] = letter(*span);
  }
  return row.label + line + "\n";
}

}  // namespace

Tick end_of(const Timeline& timeline) {
  Tick end;
  for (const TimeSpan& span : timeline.spans) end = std::max(end, span.end);
  return end;
}

std::string picture(const Timeline& timeline, PictureStyle style) {
  ASSERT(style.cell.ns > 0);
  ASSERT(timeline.ranks > 0);
  ASSERT(!timeline.streams.empty());
  ASSERT(style.cells_a_mark > 0);
  if (style.width <= 0) style.width = least_width(timeline, style.cell);
  const std::int64_t cells = to_cell(end_of(timeline), style.cell);
  const std::vector<Row> rows = rows_of(timeline);
  std::string text = marks(rows.front().label.size(), cells, style);
  for (const Row& row : rows) text += wide_row(row, style, cells);
  return text;
}

std::string picture(const Timeline& timeline, Tick cell) {
  return picture(timeline, PictureStyle{.cell = cell});
}

std::string small_picture(const Timeline& timeline, Tick cell) {
  ASSERT(cell.ns > 0);
  const std::int64_t cells = to_cell(end_of(timeline), cell);
  std::string text;
  for (const Row& row : rows_of(timeline)) text += small_row(row, cell, cells);
  return text;
}

}  // namespace narrows

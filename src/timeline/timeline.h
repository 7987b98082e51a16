// What happens when: spans on ranks and streams, and memory over time. Written by the simulator
// (predicted) and by the runtime (measured) in this one type, so that they can be drawn and
// compared.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/units.h"

namespace narrows {

struct TimeSpan {
  int rank = 0;
  int stream = 0;    // index into Timeline::streams
  std::string name;  // of an instruction as in schedule/text.h: "F0", "F3&b1"
  Tick start;
  Tick end;
  friend bool operator==(const TimeSpan&, const TimeSpan&) = default;
};

// The rank holds `bytes` from `at` until its next sample.
struct MemorySample {
  int rank = 0;
  Tick at;
  Bytes bytes;
  friend bool operator==(const MemorySample&, const MemorySample&) = default;
};

struct Timeline {
  int ranks = 1;
  std::vector<std::string> streams = {"compute"};
  std::vector<TimeSpan>
      spans;  // by rank, then stream, then start; spans of one stream do not overlap
  std::vector<MemorySample> memory;  // by rank, then time
};

// When the last span ends.
Tick end_of(const Timeline& timeline);

struct PictureStyle {
  Tick cell{1};   // time of one cell
  int width = 0;  // characters a cell; 0: the least, from 3 on, that shows every name in full
  int cells_a_mark = 1;  // cells between the numbers above the picture
};

// One line a rank (and stream, where there are several) under a line that counts marks. A span of n
// cells is its name filled up with `-`, `.` is idle. Starts and ends are rounded to whole cells;
// what is left without a cell is not drawn.
std::string picture(const Timeline& timeline, PictureStyle style);
std::string picture(const Timeline& timeline, Tick cell);

// The same for long programs: one character a cell, the first letter of what runs at the cell's
// middle, `&` for a pair.
std::string small_picture(const Timeline& timeline, Tick cell);

}  // namespace narrows

// What happens when: spans on ranks and streams, and memory over time. Written by the simulator
// (predicted) and by the runtime (measured) in this one type, so that they can be drawn and
// compared.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
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

// What an op of the op graph is, told once for all of its spans.
struct OpLabel {
  std::string block;  // "attention", "moe"; "" = of the step, not of a block
  int layer = -1;
  std::string name;        // as in the op graph: "q_b"
  std::string kind;        // "matmul"
  std::string direction;   // "F", "I", "W"; "R" = forward run again; "" = none
  std::string shape;       // behind the rows, of a matmul: "512x192" (n, k)
  std::string format;      // in which it multiplies: "bf16"
  double flops_a_row = 0;  // of matmuls and attention
  friend bool operator==(const OpLabel&, const OpLabel&) = default;
};

// One run of an op inside a span of stream 0, or between them.
struct OpSpan {
  int rank = 0;
  int label = 0;          // index into Timeline::op_labels
  std::int64_t rows = 0;  // tokens, or copies of tokens, that it worked on
  Tick start;
  Tick end;
  friend bool operator==(const OpSpan&, const OpSpan&) = default;
};

struct Timeline {
  int ranks = 1;
  std::vector<std::string> streams = {"compute"};
  std::vector<TimeSpan>
      spans;  // by rank, then stream, then start; spans of one stream do not overlap
  std::vector<MemorySample> memory;  // by rank, then time
  std::vector<OpLabel> op_labels;    // of `ops`; empty where only instructions were recorded
  std::vector<OpSpan> ops;           // by rank, then start
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

// Aligned text: tables whose columns stand two spaces apart, and numbers as people read them.
// Everything is plain ASCII letters and spaces, readable without colour.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"

namespace narrows {

class TextTable {
 public:
  // One letter a column: 'l' or 'r'.
  explicit TextTable(std::string alignment, int indent = 2)
      : alignment_(std::move(alignment)), indent_(indent) {}
  // At most as many cells as columns.
  TextTable& row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  // Lines, each ended by a newline; no spaces at the ends of lines.
  std::string text() const;

 private:
  std::string alignment_;
  int indent_;
  std::vector<std::vector<std::string>> rows_;
};

// Two blocks of lines next to each other, `gap` columns apart.
std::string side_by_side(const std::string& left, const std::string& right, int gap = 4);

// Words broken into lines of at most `width` columns, each after `indent` spaces.
std::string wrapped(const std::string& words, int indent = 2, int width = 98);

// The number of characters that a terminal shows of UTF-8 text.
std::size_t columns_of(const std::string& text);

// "10.63 s", "812.4 ms", "35.1 us".
std::string duration_text(Seconds t);
// "74.92 GiB".
std::string gib_text(Bytes bytes);
// 0.389 -> "38.9 %".
std::string percent_text(double share);
// "+0.8 %".
std::string difference_text(double share);
// "$5,576,000" rounded to four significant digits where it is large, "$2.35" where it is small.
std::string dollars_text(double dollars);
// A number with separators and as many decimals as are sensible: "2,788,000.5" never, "54.3",
// "2,788,000".
std::string number_text(double n);

}  // namespace narrows

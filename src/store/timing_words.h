// One line of a plain table of timings in the store's words: which column says what, and which
// other names for an op, a direction, a number format or an extent are in use (`gemm`, `dgrad`,
// `half`).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace narrows {

// One row's fields by column name; a missing one is "". Borrows the columns and the text.
class TimingRow {
 public:
  TimingRow(const std::vector<std::string>& columns, std::vector<std::string_view> fields);
  std::string_view operator[](std::string_view column) const;
  // The first that is there.
  std::string_view either(std::string_view first, std::string_view second) const;

 private:
  const std::vector<std::string>& columns_;
  std::vector<std::string_view> fields_;
};

// What the op is, as op_text.h writes it. `shape` lists the parts in the order of their coming.
struct TimingWords {
  std::string op, direction, recipe, shape;
};
TimingWords words_of_row(const TimingRow& row);

}  // namespace narrows

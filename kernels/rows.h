// Rows picked, summed and scattered: the permutation of tokens to experts and back, lookup tables,
// and sums of whole arrays. Sums run in the order of the lists, the same on every machine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

// to[i] = scale from[index[i]]; an index below 0 gives zeros.
struct PickRows {
  const float* from = nullptr;
  const std::int32_t* index = nullptr;
  float* to = nullptr;
  std::int64_t rows = 0;  // of `to`
  std::int64_t columns = 0;
  float scale = 1;
  bool to_bf16 = false;  // what is written is rounded to bf16
  // In bf16, instead of from and of to: where there is from_narrow, there is to_narrow.
  const std::uint16_t* from_narrow = nullptr;
  std::uint16_t* to_narrow = nullptr;
};
void pick_rows(const PickRows& op, std::int64_t first_row, std::int64_t last_row);

// to[i] = sum of from[slots[j]] for j in [begin[i], begin[i + 1]).
struct SumRows {
  const float* from = nullptr;
  const std::int32_t* begin = nullptr;  // (rows + 1)
  const std::int32_t* slots = nullptr;
  float* to = nullptr;
  std::int64_t rows = 0;  // of `to`
  std::int64_t columns = 0;
  bool accumulate = false;
  bool to_bf16 = false;                        // the sums are rounded to bf16
  const std::uint16_t* from_narrow = nullptr;  // in bf16, instead of from
};
void sum_rows(const SumRows& op, std::int64_t first_row, std::int64_t last_row);

// to[index[i]] += from[i] for all i in order; an index below 0 is left out. Work is split by
// columns.
struct ScatterRows {
  const float* from = nullptr;
  const std::int32_t* index = nullptr;
  float* to = nullptr;
  std::int64_t rows = 0;  // of `from`
  std::int64_t columns = 0;
};
void scatter_rows(const ScatterRows& op, std::int64_t first_column, std::int64_t last_column);

// to = a + b; `to` may be one of them.
struct Add {
  const float* a = nullptr;
  const float* b = nullptr;
  float* to = nullptr;
  std::int64_t count = 0;
  bool to_bf16 = false;  // the sums are rounded to bf16
  // In bf16, instead of a, b and to: either operand may be, only where there is to_narrow.
  const std::uint16_t* a_narrow = nullptr;
  const std::uint16_t* b_narrow = nullptr;
  std::uint16_t* to_narrow = nullptr;
};
void add(const Add& op, std::int64_t first, std::int64_t last);

// Rows of floats in a narrower form, and back: bf16, or codes and scales of fp8.
struct PackRows {
  float* wide = nullptr;
  std::uint16_t* halves = nullptr;
  std::uint8_t* codes = nullptr;  // where there are no halves
  float* scales = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool back = false;
};
void pack_rows(const PackRows& op, std::int64_t first_row, std::int64_t last_row);

// The sum of squares, in double; blocks of fixed size, so that it can be split at their borders.
inline constexpr std::int64_t kSumBlock = 4096;
double sum_of_squares(const float* x, std::int64_t count);

}  // namespace narrows::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/rows.h"

#include <algorithm>

#include "kernels/bf16.h"
#include "kernels/fp8.h"
#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

NARROWS_VECTORISED
void add_to(float* to, const float* from, std::int64_t count) {
  for (std::int64_t c = 0; c < count; ++c) to[c] += from[c];
}
NARROWS_VECTORISED
void add_narrow_to(float* to, const std::uint16_t* from, std::int64_t count) {
  for (std::int64_t c = 0; c < count; ++c) to[c] += wide_of(from[c]);
}

template <typename From, typename To>
NARROWS_INLINE void pick(const PickRows& op, const From* from, To* to, std::int64_t r) {
  const From* const row = from + op.index[r] * op.columns;
  for (std::int64_t c = 0; c < op.columns; ++c) put(to[c], op.scale * wide_of(row[c]));
}

template <typename A, typename B, typename To>
NARROWS_INLINE void add_run(const A* a, const B* b, To* to, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) put(to[i], wide_of(a[i]) + wide_of(b[i]));
}

// A single stream, which a core by itself does not fetch far enough ahead: lines of 16 floats.
constexpr std::int64_t kAhead = 2048;

NARROWS_VECTORISED
double square(const float* x, std::int64_t count) {
  constexpr int kWide = 32;
  double lane[kWide] = {};
  std::int64_t i = 0;
  for (; i + kWide <= count; i += kWide) {
    __builtin_prefetch(x + i + kAhead);
    __builtin_prefetch(x + i + kAhead + 16);
    for (int j = 0; j < kWide; ++j) {
      lane[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
    }
  }
  for (; i < count; ++i) lane[i % kWide] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (int width = kWide / 2; width >= 8; width /= 2) {
    for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
  }
  return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

}  // namespace

NARROWS_VECTORISED
void pick_rows(const PickRows& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const std::int64_t at = r * op.columns;
    if (op.index[r] < 0) {
      if (op.to_narrow != nullptr) std::fill_n(op.to_narrow + at, op.columns, std::uint16_t{0});
      if (op.to_narrow == nullptr) std::fill_n(op.to + at, op.columns, 0.0f);
    } else if (op.from_narrow != nullptr) {
      pick(op, op.from_narrow, op.to_narrow + at, r);
    } else if (op.to_narrow != nullptr) {
      pick(op, op.from, op.to_narrow + at, r);
    } else {
      pick(op, op.from, op.to + at, r);
      if (op.to_bf16) round_run(op.to + at, op.columns);
    }
  }
}

void sum_rows(const SumRows& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    float* to = op.to + r * op.columns;
    if (!op.accumulate) std::fill_n(to, op.columns, 0.0f);
    for (std::int32_t j = op.begin[r]; j < op.begin[r + 1]; ++j) {
      const std::int64_t from = op.slots[j] * op.columns;
      op.from_narrow == nullptr ? add_to(to, op.from + from, op.columns)
                                : add_narrow_to(to, op.from_narrow + from, op.columns);
    }
    if (op.to_bf16) round_to_bf16(to, op.columns);
  }
}

void scatter_rows(const ScatterRows& op, std::int64_t first_column, std::int64_t last_column) {
  for (std::int64_t r = 0; r < op.rows; ++r) {
    if (op.index[r] < 0) continue;
    add_to(op.to + op.index[r] * op.columns + first_column, op.from + r * op.columns + first_column,
           last_column - first_column);
  }
}

NARROWS_VECTORISED
void add(const Add& op, std::int64_t first, std::int64_t last) {
  if (op.b_narrow != nullptr && op.a_narrow != nullptr) {
    add_run(op.a_narrow, op.b_narrow, op.to_narrow, first, last);
  } else if (op.b_narrow != nullptr) {
    add_run(op.a, op.b_narrow, op.to_narrow, first, last);
  } else if (op.a_narrow != nullptr) {
    add_run(op.a_narrow, op.b, op.to_narrow, first, last);
  } else if (op.to_narrow != nullptr) {
    add_run(op.a, op.b, op.to_narrow, first, last);
  } else if (op.to_bf16) {
    for (std::int64_t i = first; i < last; ++i) op.to[i] = nearest_bf16(op.a[i] + op.b[i]);
  } else {
    for (std::int64_t i = first; i < last; ++i) op.to[i] = op.a[i] + op.b[i];
  }
}

void pack_rows(const PackRows& op, std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t at = first_row * op.columns;
  if (op.halves == nullptr) {
    op.back ? fp8_unpack(op.codes, op.scales, op.columns, op.wide, first_row, last_row)
            : fp8_pack(op.wide, op.columns, op.codes, op.scales, first_row, last_row);
  } else if (op.back) {
    from_bf16(op.halves + at, op.wide + at, (last_row - first_row) * op.columns);
  } else {
    to_bf16(op.wide, op.columns, op.columns, op.halves, first_row, last_row);
  }
}

double sum_of_squares(const float* x, std::int64_t count) {
  double total = 0;
  for (std::int64_t i = 0; i < count; i += kSumBlock) {
    total += square(x + i, std::min(kSumBlock, count - i));
  }
  return total;
}

}  // namespace narrows::kernels

// Rows of heads on their way between context-parallel ranks; for the files of context.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/context.h"

namespace narrows::context_rows {

// Heads [first, first + count) of `dim` floats, side by side in a packed row.
struct HeadRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t dim = 0;
  std::int64_t floats() const { return count * dim; }
};
void pack(const kernels::Heads<const float>& heads, std::int64_t row, const HeadRange& range,
          float* to);
void unpack(const float* from, std::int64_t row, const HeadRange& range,
            const kernels::Heads<float>& heads);

// The row in order of position of every row as gathered: rank by rank, sequence by sequence; and
// the inverse.
std::vector<std::int32_t> places(const RankContext& rank, std::int64_t batch);
std::vector<std::int32_t> inverse(const std::vector<std::int32_t>& places);

// Rows picked into a new array.
Storage picked(RankContext& rank, const Storage& from, const std::vector<std::int32_t>& index);

// Rows of keys and values, all heads, packed; and back.
std::int64_t columns_of(const KeysAndValues& shape);
Storage packed_keys(RankContext& rank, const KeysAndValues& mine, std::int64_t rows);
void unpack_keys(const Storage& packed, const KeysAndValues& shape, const KeyAndValueGrads& to);

}  // namespace narrows::context_rows

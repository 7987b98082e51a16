// SPDX-License-Identifier: Apache-2.0
#include "runtime/context.h"

#include <algorithm>

namespace narrows {
namespace {

// Copies heads of `dim` floats between a row of heads and a packed row.
void pack(const kernels::Heads<const float>& heads, std::int64_t row, std::int64_t count,
          std::int64_t dim, float* to) {
  for (std::int64_t h = 0; h < count; ++h) {
    std::copy_n(heads.data + row * heads.row_stride + h * heads.head_stride, dim, to + h * dim);
  }
}
void unpack(const float* from, std::int64_t row, std::int64_t count, std::int64_t dim,
            const kernels::Heads<float>& heads) {
  for (std::int64_t h = 0; h < count; ++h) {
    std::copy_n(from + h * dim, dim, heads.data + row * heads.row_stride + h * heads.head_stride);
  }
}

// The row in order of position of every row as gathered: rank by rank, sequence by sequence.
std::vector<std::int32_t> places(const RankContext& rank, std::int64_t batch) {
  const std::int64_t sequence = rank.plan.training.sequence;
  const int cp = rank.strategy().cp;
  std::vector<std::int32_t> found;
  for (int c = 0; c < cp; ++c) {
    const std::vector<std::int32_t> positions = context_positions(sequence, cp, c);
    for (std::int64_t b = 0; b < batch; ++b) {
      for (const std::int32_t p : positions) {
        found.push_back(static_cast<std::int32_t>(b * sequence + p));
      }
    }
  }
  return found;
}

std::vector<std::int32_t> inverse(const std::vector<std::int32_t>& places) {
  std::vector<std::int32_t> found(places.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    found[static_cast<std::size_t>(places[i])] = static_cast<std::int32_t>(i);
  }
  return found;
}

// Rows picked into a new array.
Storage picked(RankContext& rank, const Storage& from, const std::vector<std::int32_t>& index) {
  Storage to = rank.pool.matrix(from.rows(), from.columns());
  rank.backend.run(
      kernels::PickRows{from.data(), index.data(), to.data(), to.rows(), to.columns()});
  return to;
}

}  // namespace

std::vector<std::int32_t> context_positions(std::int64_t sequence, int cp, int cp_rank) {
  std::vector<std::int32_t> positions;
  if (cp == 1) {
    for (std::int64_t p = 0; p < sequence; ++p) positions.push_back(static_cast<std::int32_t>(p));
    return positions;
  }
  const std::int64_t run = sequence / (2 * cp);
  for (const std::int64_t first : {cp_rank * run, (2 * cp - 1 - cp_rank) * run}) {
    for (std::int64_t p = first; p < first + run; ++p) {
      positions.push_back(static_cast<std::int32_t>(p));
    }
  }
  return positions;
}

Result<Storage> gather_context(RankContext& rank, const KeysAndValues& mine, std::int64_t batch) {
  const std::int64_t columns = mine.heads * (mine.qk_dim + mine.v_dim);
  const std::int64_t rows = batch * rank.plan.training.sequence / rank.strategy().cp;
  Storage packed = rank.pool.matrix(rows, columns);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = packed.data() + r * columns;
    pack(mine.k, r, mine.heads, mine.qk_dim, to);
    pack(mine.v, r, mine.heads, mine.v_dim, to + mine.heads * mine.qk_dim);
  }
  Storage all = rank.pool.matrix(rows * rank.strategy().cp, columns);
  TRY(rank.groups.cp->all_gather(View(packed.data(), packed.count(), Element::F32),
                                 Buffer(all.data(), all.count(), Element::F32)));
  return picked(rank, all, inverse(places(rank, batch)));
}

Status scatter_context(RankContext& rank, const KeysAndValues& shape, Storage all,
                       std::int64_t batch, const KeyAndValueGrads& mine) {
  Storage by_rank = picked(rank, all, places(rank, batch));
  const std::int64_t rows = all.rows() / rank.strategy().cp;
  Storage packed = rank.pool.matrix(rows, all.columns());
  TRY(rank.groups.cp->reduce_scatter(Buffer(by_rank.data(), by_rank.count(), Element::F32),
                                     Buffer(packed.data(), packed.count(), Element::F32)));
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* from = packed.data() + r * packed.columns();
    unpack(from, r, shape.heads, shape.qk_dim, mine.k);
    unpack(from + shape.heads * shape.qk_dim, r, shape.heads, shape.v_dim, mine.v);
  }
  return {};
}

}  // namespace narrows

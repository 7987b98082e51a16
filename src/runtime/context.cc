// SPDX-License-Identifier: Apache-2.0
#include "runtime/context.h"

#include <algorithm>

#include "runtime/context_rows.h"

namespace narrows {
namespace context_rows {

void pack(const kernels::Heads<const float>& heads, std::int64_t row, const HeadRange& range,
          float* to) {
  const float* from = heads.data + row * heads.row_stride + range.first * heads.head_stride;
  for (std::int64_t h = 0; h < range.count; ++h) {
    std::copy_n(from + h * heads.head_stride, range.dim, to + h * range.dim);
  }
}

void unpack(const float* from, std::int64_t row, const HeadRange& range,
            const kernels::Heads<float>& heads) {
  float* to = heads.data + row * heads.row_stride + range.first * heads.head_stride;
  for (std::int64_t h = 0; h < range.count; ++h) {
    std::copy_n(from + h * range.dim, range.dim, to + h * heads.head_stride);
  }
}

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

Storage picked(RankContext& rank, const Storage& from, const std::vector<std::int32_t>& index) {
  Storage to = rank.pool.matrix(from.rows(), from.columns());
  rank.backend.run(
      kernels::PickRows{from.data(), index.data(), to.data(), to.rows(), to.columns()});
  return to;
}

std::int64_t columns_of(const KeysAndValues& shape) {
  return shape.heads * (shape.qk_dim + shape.v_dim);
}

Storage packed_keys(RankContext& rank, const KeysAndValues& mine, std::int64_t rows) {
  Storage packed = rank.pool.matrix(rows, columns_of(mine));
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = packed.data() + r * packed.columns();
    pack(mine.k, r, {0, mine.heads, mine.qk_dim}, to);
    pack(mine.v, r, {0, mine.heads, mine.v_dim}, to + mine.heads * mine.qk_dim);
  }
  return packed;
}

void unpack_keys(const Storage& packed, const KeysAndValues& shape, const KeyAndValueGrads& to) {
  for (std::int64_t r = 0; r < packed.rows(); ++r) {
    const float* from = packed.data() + r * packed.columns();
    unpack(from, r, {0, shape.heads, shape.qk_dim}, to.k);
    unpack(from + shape.heads * shape.qk_dim, r, {0, shape.heads, shape.v_dim}, to.v);
  }
}

}  // namespace context_rows

using namespace context_rows;

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
  const std::int64_t rows = batch * rank.plan.training.sequence / rank.strategy().cp;
  const Storage packed = packed_keys(rank, mine, rows);
  Storage all = rank.pool.matrix(rows * rank.strategy().cp, packed.columns());
  TRY(rank.groups.cp->all_gather(View(packed.data(), packed.count(), Element::F32),
                                 Buffer(all.data(), all.count(), Element::F32)));
  return picked(rank, all, inverse(places(rank, batch)));
}

Status scatter_context(RankContext& rank, const KeysAndValues& shape, Storage all,
                       std::int64_t batch, const KeyAndValueGrads& mine) {
  Storage by_rank = picked(rank, all, places(rank, batch));
  Storage packed = rank.pool.matrix(all.rows() / rank.strategy().cp, all.columns());
  TRY(rank.groups.cp->reduce_scatter(Buffer(by_rank.data(), by_rank.count(), Element::F32),
                                     Buffer(packed.data(), packed.count(), Element::F32)));
  unpack_keys(packed, shape, mine);
  return {};
}

}  // namespace narrows

// Which rows of which tensors a rank holds.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights.h"

#include <catch2/catch.hpp>

#include "runtime/small_plans.h"

namespace narrows {
namespace {

const Weight& weight_of(const std::vector<Weight>& weights, const std::string& op) {
  for (const Weight& weight : weights) {
    if (weight.op == op) return weight;
  }
  FAIL("no weight of " << op);
  return weights.front();
}

}  // namespace

TEST_CASE("weights: rotated rows are stored pair by pair, and numbered by halves") {
  ModelSpec model = testing::small_mla();  // heads of 8 + 4 rotated rows
  const auto rows_of = [&](const std::string& op, std::int64_t first, std::int64_t last) {
    const std::vector<Weight> weights = weights_of(BlockKind::Attention, 0, model, {});
    std::vector<std::int64_t> rows;
    for (std::int64_t r = first; r < last; ++r) {
      rows.push_back(portable_row(weight_of(weights, op).pieces.front(), r));
    }
    return rows;
  };
  using Numbers = std::vector<std::int64_t>;
  CHECK(rows_of("q_b", 6, 14) == Numbers{6, 7, 8, 10, 9, 11, 12, 13});
  CHECK(rows_of("q_b", 20, 24) == Numbers{20, 22, 21, 23});
  CHECK(rows_of("kv_a", 15, 20) == Numbers{15, 16, 18, 17, 19});
  CHECK(rows_of("kv_b", 8, 12) == Numbers{8, 9, 10, 11});
  model.numerics = Numerics{.rope_interleaved = false};
  CHECK(rows_of("q_b", 6, 14) == Numbers{6, 7, 8, 9, 10, 11, 12, 13});
}

TEST_CASE("weights: of two KV heads on four ranks each is held twice, once as a copy") {
  const ModelSpec model = testing::small_gqa();  // four heads of 8, two of keys
  for (int rank = 0; rank < 4; ++rank) {
    const std::vector<Weight> weights =
        weights_of(BlockKind::Attention, 0, model, {.tp = 4, .tp_rank = rank});
    const std::vector<WeightPiece>& pieces = weight_of(weights, "qkv").pieces;
    CHECK(pieces[0].first_row == 8 * rank);
    CHECK(pieces[0].copies == 1);
    CHECK(pieces[1].first_row == 8 * (rank / 2));
    CHECK(pieces[1].piece_rows == 8);
    CHECK(pieces[1].copies == 2);
    CHECK(pieces[1].is_copy == (rank % 2 == 1));
  }
}

}  // namespace narrows

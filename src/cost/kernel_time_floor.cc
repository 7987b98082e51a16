// SPDX-License-Identifier: Apache-2.0
#include "cost/kernel_time_floor.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace narrows {
namespace {

// Launch and ramp of one kernel: the published times approach 4 us as shapes shrink on H100 and
// B200.
constexpr Seconds kLaunch = 4 * us;
constexpr Seconds kMemoryLaunch = 2 * us;

// Smaller tiles reuse less of what they load. Shapes and costs were chosen by leave-one-out
// residuals: equal costs lose on A100 (90th percentile 23 instead of 19 %), and without tiles of
// 192 H100 loses 1 %.
struct Tile {
  double rows, columns;
  double cost;  // of an element, over that of the largest tile
};
constexpr std::array<Tile, 7> kTiles{{{128, 256, 1},
                                      {256, 128, 1},
                                      {128, 192, 1.03},
                                      {192, 128, 1.03},
                                      {128, 128, 1.08},
                                      {64, 256, 1.08},
                                      {64, 128, 1.25}}};

// The first whole number that is not below x > 0.
double whole(double x) {
  const double floor = static_cast<double>(static_cast<std::int64_t>(x));
  return floor < x ? floor + 1 : floor;
}

// Executed over useful work with whole tiles in whole waves: the best tile.
double quantisation(const MatmulWork& work, double multiprocessors) {
  double best = 0;
  for (const Tile& tile : kTiles) {
    const double tiles = work.groups * whole(work.m / tile.rows) * whole(work.n / tile.columns);
    const double waves = whole(tiles / multiprocessors);
    const double excess = tile.cost * waves * multiprocessors * tile.rows * tile.columns /
                          (work.groups * work.m * work.n);
    best = best == 0 ? excess : std::min(best, excess);
  }
  return best;
}

Bytes operand_bytes(Recipe recipe) {
  switch (recipe) {
    case Recipe::F32:
      return 4 * byte;
    case Recipe::Fp16:
    case Recipe::Bf16:
      return 2 * byte;
    case Recipe::Fp8Block:
    case Recipe::Fp8Tensor:
    case Recipe::Fp8Row:
    case Recipe::Mxfp8:
      return 1.03125 * byte;  // with scales
    case Recipe::Nvfp4:
      return 0.5625 * byte;
  }
  return 2 * byte;
}

FlopRate find(const Chip& chip, const char* format) {
  const auto found = chip.peak.find(format);
  return found == chip.peak.end() ? FlopRate{} : found->second.value;
}

}  // namespace

MatmulWork matmul_work(Recipe recipe, Direction direction, const MatmulShape& shape) {
  const double groups = std::max(shape.groups, 1);
  const double m = std::max(shape.m.expected / groups, 1.0);
  const double n = static_cast<double>(std::max<std::int64_t>(shape.n, 1));
  const double k = static_cast<double>(std::max<std::int64_t>(shape.k, 1));
  const Bytes operand = operand_bytes(recipe);
  const Bytes output = (recipe == Recipe::F32 ? 4 : 2) * byte;
  switch (direction) {
    case Direction::Forward:
      return {m, n, k, groups, operand, output};
    case Direction::InputGrad:
      return {m, k, n, groups, operand, output};
    case Direction::WeightGrad:
      return {n, k, m, groups, operand, 8 * byte};
  }
  return {};
}

MatmulFloor matmul_floor(const ChipRates& rates, const MatmulWork& work) {
  const Flops flops = 2 * work.groups * work.m * work.n * work.k * flop;
  const double excess = rates.multiprocessors > 0 ? quantisation(work, rates.multiprocessors) : 1;
  const Bytes traffic =
      work.groups * ((work.m + work.n) * work.k * work.operand + work.m * work.n * work.output);
  const Seconds arithmetic = 0.5 * (1 + excess) * flops / rates.peak;
  const Seconds longer = max(arithmetic, traffic / rates.bandwidth);
  return {kLaunch + longer, arithmetic / longer};
}

double attended_keys(const AttentionShape& shape) {
  const double keys = static_cast<double>(std::max<std::int64_t>(shape.keys, 1));
  if (shape.window <= 0 || shape.window >= keys) return shape.causal ? keys / 2 : keys;
  const double window = shape.window;
  // Causal: query i sees min(i, window); else the window is whole for nearly all.
  return shape.causal ? window - window * window / (2 * keys) : window;
}

double attention_pair_flops(Direction direction, const AttentionShape& shape) {
  return direction == Direction::Forward ? 2.0 * (shape.qk_dim + shape.v_dim)
                                         : 2.0 * (3 * shape.qk_dim + 2 * shape.v_dim);
}

Seconds attention_floor(const ChipRates& rates, Direction direction, const AttentionShape& shape) {
  const double queries = static_cast<double>(std::max<std::int64_t>(shape.queries, 1));
  const bool forward = direction == Direction::Forward;
  // What a block of queries costs beside its keys, in keys.
  const double ends = (forward ? 170 : 300) + (shape.causal ? 50 : 0);
  const double pairs = shape.batch * shape.heads * queries * (attended_keys(shape) + ends);
  const double per_pair = attention_pair_flops(direction, shape);
  const double keys = static_cast<double>(shape.keys);
  const double elements = shape.batch *
                          (shape.heads * queries + std::max(shape.kv_heads, 1) * keys) *
                          (shape.qk_dim + shape.v_dim);
  const Bytes traffic = (forward ? 2 : 4) * elements * byte;
  const double blocks = std::max(shape.batch * shape.heads * whole(queries / 128), 1.0);
  const double tail =
      rates.multiprocessors > 0 ? (forward ? 1.5 : 0.7) * rates.multiprocessors / blocks : 0;
  return kLaunch +
         max((1 + tail) * pairs * per_pair * flop / rates.peak, traffic / rates.bandwidth);
}

Seconds memory_floor(const ChipRates& rates, Bytes traffic) {
  return kMemoryLaunch + traffic / rates.bandwidth;
}

FlopRate matmul_peak(Recipe recipe, const Chip& chip) {
  switch (recipe) {
    case Recipe::F32:
      return find(chip, "fp32");
    case Recipe::Fp16:
      return find(chip, "fp16");
    case Recipe::Bf16:
      return find(chip, "bf16");
    case Recipe::Fp8Block:
    case Recipe::Fp8Tensor:
    case Recipe::Fp8Row:
    case Recipe::Mxfp8:
      return find(chip, "fp8");
    case Recipe::Nvfp4:
      return find(chip, "fp4");
  }
  return {};
}

FlopRate matmul_peak(Recipe recipe, const MeasuredChip& chip) {
  switch (recipe) {
    case Recipe::F32:
    case Recipe::Fp16:
    case Recipe::Bf16:
      return chip.bf16;
    case Recipe::Fp8Block:
    case Recipe::Fp8Tensor:
    case Recipe::Fp8Row:
    case Recipe::Mxfp8:
      return chip.fp8;
    case Recipe::Nvfp4:
      return chip.fp4;
  }
  return {};
}

}  // namespace narrows

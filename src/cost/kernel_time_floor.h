// The least time of a kernel on a chip: launch, then the slower of arithmetic at peak and of
// reading and writing everything once. A measured time is this floor over an efficiency, and
// efficiencies carry over between shapes and chips better than times do. Half of the tile and wave
// quantisation (whole 128-wide tiles, whole rounds of tiles over the multiprocessors, the best of
// five tile shapes) is part of the floor: taking all or none of it left larger leave-one-out
// residuals on the published tables.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "hardware/chip.h"
#include "measurement/kernel_tables.h"
#include "model/op.h"

namespace narrows {

// What limits a kernel.
struct ChipRates {
  FlopRate peak;
  Bandwidth bandwidth;
  double multiprocessors = 0;  // 0 = unknown: no quantisation
};

// The matrix product that an op executes: `groups` times (m, k) (k, n).
struct MatmulWork {
  double m = 0;
  double n = 0;
  double k = 0;
  double groups = 1;
  Bytes operand;  // of one element read
  Bytes output;   // of one element written; an fp32 accumulation reads and writes
};

// The product executed for a direction; `shape` is that of the forward op. InputGrad multiplies (m,
// n) by (n, k), WeightGrad (n, m) by (m, k) and accumulates into fp32.
MatmulWork matmul_work(Recipe recipe, Direction direction, const MatmulShape& shape);
struct MatmulFloor {
  Seconds time;
  // The time of arithmetic over that of the slower of arithmetic and traffic, in (0, 1]: 1 =
  // arithmetic limits.
  double arithmetic_share = 1;
};
MatmulFloor matmul_floor(const ChipRates& rates, const MatmulWork& work);

// Attention as executed: forward 2 (qk + v), backward 2 (3 qk + 2 v) FLOPs a pair of query and key;
// a causal mask halves the pairs, a window bounds the keys of each query. Blocks of 128 queries of
// a head are spread over the multiprocessors; the last ones run alone, which costs 1.5 (forward) or
// 0.7 (backward) of a block's time: from the published times of 4 to 64 heads of 4096 tokens on
// A100. A block's prologue and epilogue cost as much as 170 keys (300 backward), and the masked
// half of its diagonal 50 more: from what the rates at 512 to 4096 tokens on A100 and H100 lose
// against 16384. With these terms the median residual of attention falls from 11 to 5 %.
Seconds attention_floor(const ChipRates& rates, Direction direction, const AttentionShape& shape);
// FLOPs of a query and a key of a head.
double attention_pair_flops(Direction direction, const AttentionShape& shape);
// The mean number of keys that a query attends to.
double attended_keys(const AttentionShape& shape);

// Memory-bound kernels.
Seconds memory_floor(const ChipRates& rates, Bytes traffic);

// The peak that limits matmuls of a recipe; 0 if the chip cannot multiply in that format.
FlopRate matmul_peak(Recipe recipe, const Chip& chip);
FlopRate matmul_peak(Recipe recipe, const MeasuredChip& chip);

}  // namespace narrows

// What our matmuls share: a block of 256 threads makes 128 columns and 128 or 64 rows of a result,
// its warps two down and four across. It walks what is summed over in steps of 128 bytes, of which
// one is multiplied while the next is on its way.
//
// An operand lies along the sum (a row of the tile is a row of the result's) or across it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/tile_order.h"
#include "kernels/cuda/tiles.cuh"

namespace narrows::gpu {

inline constexpr int kStep = 64;  // of bf16, or twice as many bytes

// One operand's part: `span` rows or columns of the result exist from `at` on.
struct Operand {
  const Bf16* at;
  int stride;
  int span;
};

// Starts copying step `step` of `sum` numbers in all.
template <int kSpan, bool kAlong>
__device__ __forceinline__ void load_operand(Bf16* tile, const Operand& o, int step, int sum) {
  const int first = step * kStep;
  if constexpr (kAlong) {
    load_tile<kSpan, kStep>(tile, o.at + first, o.stride, o.span, sum - first);
  } else {
    load_tile<kStep, kSpan>(tile, o.at + static_cast<std::int64_t>(first) * o.stride, o.stride,
                            sum - first, o.span);
  }
}
// Rows `row` and 15 more of the operand on the left, columns `column` and 15 more of that on the
// right; of 16 numbers of the sum, the `part`th of the step.
template <int kSpan, bool kAlong>
__device__ __forceinline__ void left_fragment(std::uint32_t (&a)[4], const Bf16* tile, int row,
                                              int part) {
  if constexpr (kAlong) {
    load_a<kStep>(a, tile, row, 2 * part);
  } else {
    load_a_transposed<kSpan>(a, tile, 16 * part, row / 8);
  }
}
template <bool kAlong>
__device__ __forceinline__ void right_fragment(std::uint32_t (&b)[4], const Bf16* tile, int column,
                                               int part) {
  if constexpr (kAlong) {
    load_b<kStep>(b, tile, column, 2 * part);
  } else {
    load_b_transposed<kTileSide>(b, tile, 16 * part, column / 8);
  }
}

// `load(step, half)` starts the copies of a step into one half of the shared memory;
// `multiply(step, half)` uses them.
template <typename Load, typename Multiply>
__device__ __forceinline__ void walk_sum(int steps, const Load& load, const Multiply& multiply) {
  if (steps > 0) load(0, 0);
  commit_copies();
  for (int step = 0; step < steps; ++step) {
    await_copies<0>();
    barrier();  // the step has arrived for all, and the other half is no longer read
    if (step + 1 < steps) load(step + 1, (step + 1) % 2);
    commit_copies();
    multiply(step, step % 2);
  }
}

// Where a warp's part of the tile begins, and its lane's place in it.
template <int kHeight>
struct WarpPlace {
  static constexpr int kRows = kHeight / 2, kColumns = kTileSide / 4;
  int row = thread() / 32 / 4 * kRows;
  int column = thread() / 32 % 4 * kColumns;
  int g = thread() % 32 / 4, t = thread() % 4;
};

// The result's tile: `rows` by `columns` of it exist.
struct Corner {
  void* at;  // its first number
  int stride;
  int rows, columns;
  float beta;
};

template <typename T>
__device__ __forceinline__ void put_pair(T* to, float low, float high, float beta) {
  float pair[2] = {low, high};
  if (beta != 0.0f) {
    float was[2];
    load<2>(to, was);
    pair[0] += beta * was[0];
    pair[1] += beta * was[1];
  }
  store<2>(to, pair);
}
template <typename T, int kHeight>
__device__ __forceinline__ void put_tile(const Corner& corner,
                                         const float (&d)[kHeight / 32][4][4]) {
  const WarpPlace<kHeight> place;
  T* const to = static_cast<T*>(corner.at);
#pragma unroll
  for (int m = 0; m < kHeight / 32; ++m) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int column = place.column + 8 * n + 2 * place.t;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = place.row + 16 * m + place.g + 8 * h;
        if (row >= corner.rows || column >= corner.columns) continue;
        put_pair(to + static_cast<std::int64_t>(row) * corner.stride + column, d[m][n][2 * h],
                 d[m][n][2 * h + 1], corner.beta);
      }
    }
  }
}

// Element `index` of what is stored in `type`.
__host__ __device__ __forceinline__ void* element_at(void* base, Type type, std::int64_t index) {
  return static_cast<char*>(base) + index * (type == Type::F32 ? 4 : 2);
}
__device__ __forceinline__ int at_most(std::int64_t left, int most) {
  return left < most ? static_cast<int>(left) : most;
}

}  // namespace narrows::gpu

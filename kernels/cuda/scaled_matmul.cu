// Matmuls in E4M3 with scales by block, dense and of experts (all groups in one launch,
// tile_order.h): what tensor cores sum over 128 numbers is scaled and added up in f32 (deepseek2024
// §3.3). Bytes become f16, which holds them exactly, on their way into registers, and are
// multiplied at f16's rate on every chip. On Hopper nothing is lost by that: mma.sync has no E4M3
// there, what the assembler makes of m16n8k32 is two products in f16 and twelve conversions, which
// this way are shared by a warp's fragments.
//
// Floor: 2 m n k FLOPs at the rate of E4M3, where there is one. Shared memory: 64 KiB, 48 of short
// groups' tiles; one block a multiprocessor, for sums are held twice.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/cuda/scaled_matmul.cuh"

namespace narrows::gpu {
namespace {

struct Work {
  Operand left, right;
  Corner corner;
  int sum;               // pairs of bytes
  const float* scale_a;  // of the tile's first row; the next step's is `next_a` further
  const float* scale_b;
  std::int64_t next_a, next_b;
};

__device__ __forceinline__ const Bf16* pairs(const std::uint8_t* bytes) {
  return reinterpret_cast<const Bf16*>(bytes);
}

template <int kHeight>
__device__ __forceinline__ Work work_of(const GroupedScaledMatmul& op, const TileOrder& order) {
  const Tile tile = tile_at(order, block_x());
  const std::int64_t first = order.begin[tile.group];
  const std::int64_t inside = order.begin[tile.group + 1] - first;
  // Where the group's rows, sum, matrix of b and result begin.
  const std::int64_t top = op.groups_sum ? 0 : first, from = op.groups_sum ? first : 0;
  const std::int64_t of_b = op.groups_sum ? 0 : tile.group;
  const std::int64_t result = op.groups_sum ? tile.group * op.m : first;
  const std::int64_t row = static_cast<std::int64_t>(tile.down) * kHeight;
  const std::int64_t column = static_cast<std::int64_t>(tile.across) * kTileSide;
  const std::int64_t stride = block_scale_stride(op.k), step = from / kScaled;
  const int down = at_most((op.groups_sum ? op.m : inside) - row, kHeight);
  const int across = at_most(op.n - column, kTileSide);
  const int pitch = static_cast<int>(op.k / 2);
  const float* const scale_b = op.b_blocks
                                   ? op.scale_b + (of_b * tiles_of(op.n) + tile.across) * stride
                                   : op.scale_b + of_b * tiles_of(op.k) * op.n + column;
  const std::int64_t next_b = op.b_blocks ? 1 : op.n;
  return {{pairs(op.a + (top + row) * op.k + from), pitch, down},
          {pairs(op.b + (of_b * op.n + column) * op.k + from), pitch, across},
          {element_at(op.c, op.out, (result + row) * op.n + column), static_cast<int>(op.n), down,
           across, op.beta},
          static_cast<int>((op.groups_sum ? inside : op.k) / 2),
          op.scale_a + step * op.m + top + row,
          scale_b + step * next_b,
          op.m,
          next_b};
}

// Products of 32 numbers of the sum. Their order is free, so long as it is one on both sides: first
// those of the registers' lower halves of k, then of the upper; of each the even pair and the odd.
template <int kRows>
__device__ __forceinline__ void multiply_bytes(float (&d)[kRows][4][4],
                                               const std::uint32_t (&a)[kRows][4],
                                               const std::uint32_t (&b)[2][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    std::uint32_t wide[kRows][4];
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      widen_e4m3(a[m][2 * half], wide[m][0], wide[m][2]);
      widen_e4m3(a[m][2 * half + 1], wide[m][1], wide[m][3]);
    }
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      std::uint32_t low, high;
      widen_e4m3(b[n / 2][n % 2 * 2 + half], low, high);
#pragma unroll
      for (int m = 0; m < kRows; ++m) multiply_f16(d[m][n], wide[m], low, high);
    }
  }
}

// Scales of one step, for the rows and columns of this lane; 1 beyond the edge.
template <int kHeight>
struct Scales {
  float row[kHeight / 32][2];
  float column[4][2];

  __device__ __forceinline__ void load(const Work& work, bool b_blocks, int step) {
    const WarpPlace<kHeight> place;
    const float* const a = work.scale_a + step * work.next_a;
    const float* const b = work.scale_b + step * work.next_b;
#pragma unroll
    for (int m = 0; m < kHeight / 32; ++m) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int at = place.row + 16 * m + place.g + 8 * h;
        row[m][h] = at < work.corner.rows ? a[at] : 1.0f;
      }
    }
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int at = place.column + 8 * n + 2 * place.t + i;
        column[n][i] = b_blocks ? b[0] : at < work.corner.columns ? b[at] : 1.0f;
      }
    }
  }
};

template <int kHeight>
constexpr int kHalf = kStep*(kHeight + kTileSide);  // pairs of bytes of a step

template <int kHeight>
__global__ void __launch_bounds__(256, 1)
    scaled_kernel(const GroupedScaledMatmul op, const TileOrder order) {
  constexpr int kRows = kHeight / 32;
  Bf16* const memory = shared<Bf16>();
  const Work work = work_of<kHeight>(op, order);
  const WarpPlace<kHeight> place;
  float d[kRows][4][4] = {};
  const auto load = [&](int step, int half) {
    Bf16* const left = memory + half * kHalf<kHeight>;
    load_operand<kHeight, true>(left, work.left, step, work.sum);
    load_operand<kTileSide, true>(left + kStep * kHeight, work.right, step, work.sum);
  };
  const auto multiply_step = [&](int step, int half) {
    const Bf16* const left = memory + half * kHalf<kHeight>;
    const Bf16* const right = left + kStep * kHeight;
    Scales<kHeight> scales;
    scales.load(work, op.b_blocks, step);
    float sums[kRows][4][4] = {};
#pragma unroll
    for (int part = 0; part < kStep / 16; ++part) {
      std::uint32_t a[kRows][4], b[2][4];
#pragma unroll
      for (int m = 0; m < kRows; ++m)
        left_fragment<kHeight, true>(a[m], left, place.row + 16 * m, part);
#pragma unroll
      for (int n = 0; n < 2; ++n) right_fragment<true>(b[n], right, place.column + 16 * n, part);
      multiply_bytes<kRows>(sums, a, b);
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          d[m][n][i] += sums[m][n][i] * (scales.row[m][i / 2] * scales.column[n][i % 2]);
      }
    }
  };
  walk_sum((work.sum + kStep - 1) / kStep, load, multiply_step);
  if (op.out == Type::F32) {
    put_tile<float, kHeight>(work.corner, d);
  } else {
    put_tile<Bf16, kHeight>(work.corner, d);
  }
}

template <int kHeight>
Code start_kernel(Context& context, const GroupedScaledMatmul& op, const TileOrder& order) {
  const Launch how{.x = static_cast<int>(blocks_of(order)), .shared_bytes = 2 * 2 * kHalf<kHeight>};
  return start(context, "scaled matmul", scaled_kernel<kHeight>, how, op, order);
}

// Of as many groups as one launch takes.
Code launch_groups(Context& context, const GroupedScaledMatmul& op) {
  const int groups = static_cast<int>(op.groups), across = tiles_in(op.n, kTileSide);
  const int height = op.groups_sum ? kTileSide : tile_height(op.begin, groups);
  const TileOrder order = op.groups_sum
                              ? order_of_sums(op.begin, groups, tiles_in(op.m, height), across)
                              : order_of_rows(op.begin, groups, height, across);
  if (blocks_of(order) > INT32_MAX) {
    return refuse(context, Code::Unsupported, "scaled matmul: %lld tiles, more than a launch has",
                  static_cast<long long>(blocks_of(order)));
  }
  return height < kTileSide ? start_kernel<kTileSide / 2>(context, op, order)
                            : start_kernel<kTileSide>(context, op, order);
}

}  // namespace

TileOrder order_of(const GroupedScaledMatmul& op, int height) {
  const int groups = static_cast<int>(op.groups), across = tiles_in(op.n, kTileSide);
  if (!op.groups_sum) return order_of_rows(op.begin, groups, height, across);
  return order_of_sums(op.begin, groups, tiles_in(op.m, height), across);
}

std::int64_t scales_of_b(const GroupedScaledMatmul& op) {
  return op.b_blocks ? tiles_of(op.n) * block_scale_stride(op.k) : tiles_of(op.k) * op.n;
}

Code scaled_by_kernel(Context& context, const GroupedScaledMatmul& op) {
  for (std::int64_t e = 0; e < op.groups; e += kMostGroups) {
    GroupedScaledMatmul part = op;
    part.groups = std::min<std::int64_t>(kMostGroups, op.groups - e);
    part.begin = op.begin + e;
    if (op.groups_sum) {
      part.c = element_at(op.c, op.out, e * op.m * op.n);
    } else {
      part.b = op.b + e * op.n * op.k;
      part.scale_b = op.scale_b + e * scales_of_b(op);
    }
    const Code code = launch_groups(context, part);
    if (code != Code::Ok) return code;
  }
  return Code::Ok;
}

}  // namespace narrows::gpu

// The experts' matmuls in bf16: all groups in one launch, a block a tile of a group's result
// (tile_order.h), by mma.sync with sums in f32, for any chip from sm_80 on. Nothing is copied to
// the device for it: where groups begin travels with the kernel's parameters. A weight gradient of
// no rows is beta w.
//
// One matmul of cuBLASLt a group instead: in f32, for which tensor cores have no format; where n or
// k is no multiple of 8 or an address none of 16; and on Hopper where the groups are so large that
// wgmma's rate outweighs what each group's last wave leaves idle (loop_is_quicker).
//
// Floor: 2 m n k FLOPs, m the rows of all groups. Shared memory: 64 KiB, 48 of short groups' tiles;
// two blocks a multiprocessor.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/cuda/matmul_tiles.cuh"

namespace narrows::gpu {
namespace {

// What a block multiplies: left (rows, sum) right (sum, columns).
struct Work {
  Operand left, right;
  Corner corner;
  int sum;
};

template <Pass kPass, int kHeight>
__device__ __forceinline__ Work work_of(const GroupedMatmul& op, const TileOrder& order) {
  const Tile tile = tile_at(order, block_x());
  const std::int64_t first = order.begin[tile.group];
  const std::int64_t rows = order.begin[tile.group + 1] - first;
  const std::int64_t row = static_cast<std::int64_t>(tile.down) * kHeight;
  const std::int64_t column = static_cast<std::int64_t>(tile.across) * kTileSide;
  const std::int64_t weight = tile.group * op.n * op.k;
  const int n = static_cast<int>(op.n), k = static_cast<int>(op.k);
  const Bf16* const x = static_cast<const Bf16*>(op.x) + first * op.k;
  const Bf16* const y = static_cast<const Bf16*>(op.y) + first * op.n;
  const Bf16* const w = static_cast<const Bf16*>(op.w) + weight;
  if constexpr (kPass == Pass::Forward) {  // y = x w^T
    const int down = at_most(rows - row, kHeight), across = at_most(n - column, kTileSide);
    void* const to = element_at(op.y, op.out, (first + row) * n + column);
    return {{x + row * k, k, down}, {w + column * k, k, across}, {to, n, down, across, 0}, k};
  } else if constexpr (kPass == Pass::InputGrad) {  // x = y w
    const int down = at_most(rows - row, kHeight), across = at_most(k - column, kTileSide);
    void* const to = element_at(op.x, op.out, (first + row) * k + column);
    return {{y + row * n, n, down}, {w + column, k, across}, {to, k, down, across, 0}, n};
  } else {  // w = y^T x + beta w
    const int down = at_most(n - row, kHeight), across = at_most(k - column, kTileSide);
    void* const to = element_at(op.w, op.out, weight + row * k + column);
    return {{y + row, n, down},
            {x + column, k, across},
            {to, k, down, across, op.beta},
            static_cast<int>(rows)};
  }
}

template <int kHeight>
constexpr int kHalf = kStep*(kHeight + kTileSide);  // bf16 numbers of a step

template <Pass kPass, int kHeight>
__global__ void __launch_bounds__(256, 2)
    grouped_kernel(const GroupedMatmul op, const TileOrder order) {
  constexpr bool kLeftAlong = kPass != Pass::WeightGrad, kRightAlong = kPass == Pass::Forward;
  Bf16* const memory = shared<Bf16>();
  const Work work = work_of<kPass, kHeight>(op, order);
  const WarpPlace<kHeight> place;
  float d[kHeight / 32][4][4] = {};
  const auto load = [&](int step, int half) {
    Bf16* const left = memory + half * kHalf<kHeight>;
    load_operand<kHeight, kLeftAlong>(left, work.left, step, work.sum);
    load_operand<kTileSide, kRightAlong>(left + kStep * kHeight, work.right, step, work.sum);
  };
  const auto multiply_step = [&](int, int half) {
    const Bf16* const left = memory + half * kHalf<kHeight>;
    const Bf16* const right = left + kStep * kHeight;
#pragma unroll
    for (int part = 0; part < kStep / 16; ++part) {
      std::uint32_t a[kHeight / 32][4], b[4];
#pragma unroll
      for (int m = 0; m < kHeight / 32; ++m) {
        left_fragment<kHeight, kLeftAlong>(a[m], left, place.row + 16 * m, part);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        right_fragment<kRightAlong>(b, right, place.column + 16 * n, part);
#pragma unroll
        for (int m = 0; m < kHeight / 32; ++m) multiply_pair(d[m][2 * n], d[m][2 * n + 1], a[m], b);
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

template <Pass kPass, int kHeight>
Code start_kernel(Context& context, const GroupedMatmul& op, const TileOrder& order) {
  const Launch how{.x = static_cast<int>(blocks_of(order)), .shared_bytes = 2 * 2 * kHalf<kHeight>};
  return start(context, "grouped matmul", grouped_kernel<kPass, kHeight>, how, op, order);
}

TileOrder order_of(const GroupedMatmul& op, int height) {
  const int groups = static_cast<int>(op.groups);
  const int down = tiles_in(op.n, kTileSide), across = tiles_in(op.k, kTileSide);
  switch (op.pass) {
    case Pass::Forward:
      return order_of_rows(op.begin, groups, height, down);
    case Pass::InputGrad:
      return order_of_rows(op.begin, groups, height, across);
    case Pass::WeightGrad:
      break;
  }
  return order_of_sums(op.begin, groups, down, across);
}

// Of as many groups as one launch takes.
Code launch_groups(Context& context, const GroupedMatmul& op) {
  const int height = tile_height(op.begin, static_cast<int>(op.groups));
  const bool short_tiles = height < kTileSide;
  const TileOrder order = order_of(op, op.pass == Pass::WeightGrad ? kTileSide : height);
  if (blocks_of(order) > INT32_MAX) {
    return refuse(context, Code::Unsupported, "grouped matmul: %lld tiles, more than a launch has",
                  static_cast<long long>(blocks_of(order)));
  }
  switch (op.pass) {
    case Pass::Forward:
      return short_tiles ? start_kernel<Pass::Forward, kTileSide / 2>(context, op, order)
                         : start_kernel<Pass::Forward, kTileSide>(context, op, order);
    case Pass::InputGrad:
      return short_tiles ? start_kernel<Pass::InputGrad, kTileSide / 2>(context, op, order)
                         : start_kernel<Pass::InputGrad, kTileSide>(context, op, order);
    case Pass::WeightGrad:
      return start_kernel<Pass::WeightGrad, kTileSide>(context, op, order);
  }
  return refuse(context, Code::Invalid, "grouped matmul: no such pass");
}

// The sum over no rows: c = beta c.
template <typename T>
__global__ void keep_kernel(T* to, std::int64_t count, float beta) {
  const std::int64_t step = static_cast<std::int64_t>(blocks_x()) * threads();
  for (std::int64_t i = static_cast<std::int64_t>(block_x()) * threads() + thread(); i < count;
       i += step) {
    set(to[i], beta == 0.0f ? 0.0f : beta * to_float(to[i]));
  }
}
Code keep(Context& context, const Matmul& m) {
  const std::int64_t count = m.m * m.n;
  const Launch how{.x = stride_blocks(count, 1, context.multiprocessors)};
  if (m.out == Type::F32) {
    return start(context, "no rows", keep_kernel<float>, how, static_cast<float*>(m.c), count,
                 m.beta);
  }
  return start(context, "no rows", keep_kernel<Bf16>, how, static_cast<Bf16*>(m.c), count, m.beta);
}

// The matmul of one group, for cuBLASLt.
Matmul matmul_of(const GroupedMatmul& op, std::int64_t e) {
  const std::int64_t first = op.begin[e], rows = op.begin[e + 1] - first;
  void* const x = element_at(op.x, op.pass == Pass::InputGrad ? op.out : op.type, first * op.k);
  void* const y = element_at(op.y, op.pass == Pass::Forward ? op.out : op.type, first * op.n);
  void* const w = element_at(op.w, op.pass == Pass::WeightGrad ? op.out : op.type, e * op.n * op.k);
  switch (op.pass) {
    case Pass::Forward:  // y = x w^T
      return {op.type, op.out, false, true, rows, op.n, op.k, x, op.k, w, op.k, 0, y, op.n};
    case Pass::InputGrad:  // x = y w
      return {op.type, op.out, false, false, rows, op.k, op.n, y, op.n, w, op.k, 0, x, op.k};
    case Pass::WeightGrad:  // w = y^T x + beta w
      break;
  }
  return {op.type, op.out, true, false, op.n, op.k, rows, y, op.n, x, op.k, op.beta, w, op.k};
}

Code one_by_one(Context& context, const GroupedMatmul& op) {
  for (std::int64_t e = 0; e < op.groups; ++e) {
    const Matmul group = matmul_of(op, e);
    if (group.m == 0) continue;
    const Code code = group.k == 0 ? keep(context, group) : run(context, group);
    if (code != Code::Ok) return code;
  }
  return Code::Ok;
}

bool kernel_can(const GroupedMatmul& op) {
  return op.type == Type::Bf16 && op.n % 8 == 0 && op.k % 8 == 0 && aligned(16, op.x, op.w, op.y) &&
         std::max({op.begin[op.groups], op.n, op.k}) <= INT32_MAX - kTileSide;
}
bool library_is_better(const Context& context, const GroupedMatmul& op) {
  if (context.architecture / 10 != 9 || op.groups > kMostGroups) return false;
  const bool sums = op.pass == Pass::WeightGrad;
  const auto depth = [&](int e) {
    return sums ? static_cast<double>(op.begin[e + 1] - op.begin[e]) : 1.0;
  };
  return loop_is_quicker(order_of(op, kTileSide), context.multiprocessors, kShareOfWgmma, depth);
}

}  // namespace

Code run(Context& context, const GroupedMatmul& op) {
  if (op.groups < 1 || op.n < 1 || op.k < 1) return Code::Ok;
  if (!kernel_can(op) || library_is_better(context, op)) return one_by_one(context, op);
  for (std::int64_t e = 0; e < op.groups; e += kMostGroups) {
    GroupedMatmul part = op;
    part.groups = std::min<std::int64_t>(kMostGroups, op.groups - e);
    part.begin = op.begin + e;
    part.w = element_at(op.w, op.pass == Pass::WeightGrad ? op.out : op.type, e * op.n * op.k);
    const Code code = launch_groups(context, part);
    if (code != Code::Ok) return code;
  }
  return Code::Ok;
}

}  // namespace narrows::gpu

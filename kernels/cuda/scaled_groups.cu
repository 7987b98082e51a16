// Which way a matmul in E4M3 goes: by our kernel (scaled_matmul.cu), or on Hopper by cuBLASLt,
// whose wgmma has E4M3's rate: dense ones, and groups one by one where that outweighs what it
// leaves idle (loop_is_quicker), if each has rows in 4s and no sum is empty. cuBLASLt wants the
// scales of a group's rows side by side, so they are gathered before, some 3 % of the bytes of a.
//
// Refused: n or k that is no multiple of 16, addresses that are none of 16, sums whose groups do
// not begin at multiples of 128.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/cuda/scaled_matmul.cuh"

namespace narrows::gpu {
namespace {

Code check(Context& context, const GroupedScaledMatmul& op) {
  const std::int64_t end = op.begin[op.groups];
  if ((op.groups_sum ? op.k : op.m) != end) {
    return refuse(context, Code::Invalid, "scaled matmul: groups end at %lld, expected %lld",
                  static_cast<long long>(end), static_cast<long long>(op.groups_sum ? op.k : op.m));
  }
  if (op.n % 16 != 0 || op.k % 16 != 0 || !aligned(16, op.a, op.b, op.c)) {
    return refuse(context, Code::Unsupported,
                  "scaled matmul: n and k in 16s at multiples of 16 bytes, found %lld and %lld",
                  static_cast<long long>(op.n), static_cast<long long>(op.k));
  }
  for (std::int64_t e = 0; op.groups_sum && e < op.groups; ++e) {
    if (op.begin[e] % kScaled == 0) continue;
    return refuse(context, Code::Unsupported,
                  "scaled matmul: sums begin at multiples of 128, group %lld at %lld",
                  static_cast<long long>(e), static_cast<long long>(op.begin[e]));
  }
  if (std::max({op.m, op.n, op.k}) <= INT32_MAX - kTileSide) return Code::Ok;
  return refuse(context, Code::Unsupported, "scaled matmul: more than 2^31 rows or columns");
}

// Scales (tiles, rows) of one group's rows, out of those of all `stride` rows.
__global__ void gather_kernel(const float* from, std::int64_t stride, float* to, std::int64_t rows,
                              std::int64_t tiles) {
  const std::int64_t step = static_cast<std::int64_t>(blocks_x()) * threads();
  for (std::int64_t i = static_cast<std::int64_t>(block_x()) * threads() + thread();
       i < rows * tiles; i += step) {
    to[i] = from[i / rows * stride + i % rows];
  }
}

Code multiply_rows(Context& context, const GroupedScaledMatmul& op, std::int64_t e) {
  const std::int64_t first = op.begin[e], rows = op.begin[e + 1] - first;
  if (rows == 0) return Code::Ok;
  const std::int64_t tiles = tiles_of(op.k);
  const Launch how{.x = stride_blocks(rows * tiles, 1, context.multiprocessors)};
  const Code gathered = start(context, "scales", gather_kernel, how, op.scale_a + first, op.m,
                              context.scratch, rows, tiles);
  if (gathered != Code::Ok) return gathered;
  const ScaledMatmul one{.out = op.out,
                         .b_blocks = op.b_blocks,
                         .m = rows,
                         .n = op.n,
                         .k = op.k,
                         .a = op.a + first * op.k,
                         .scale_a = context.scratch,
                         .b = op.b + e * op.n * op.k,
                         .scale_b = op.scale_b + e * scales_of_b(op),
                         .beta = op.beta,
                         .c = element_at(op.c, op.out, first * op.n)};
  return scaled_by_library(context, one, op.k);
}
Code multiply_sum(Context& context, const GroupedScaledMatmul& op, std::int64_t e) {
  const std::int64_t first = op.begin[e], step = first / kScaled;
  const ScaledMatmul one{.out = op.out,
                         .b_blocks = false,
                         .m = op.m,
                         .n = op.n,
                         .k = op.begin[e + 1] - first,
                         .a = op.a + first,
                         .scale_a = op.scale_a + step * op.m,
                         .b = op.b + first,
                         .scale_b = op.scale_b + step * op.n,
                         .beta = op.beta,
                         .c = element_at(op.c, op.out, e * op.m * op.n)};
  return scaled_by_library(context, one, op.k);
}

// Whether cuBLASLt takes every group: its scales lie in 16 bytes.
bool library_can(const GroupedScaledMatmul& op) {
  if (op.groups_sum && (op.b_blocks || op.m % 4 != 0)) return false;
  for (std::int64_t e = 0; e < op.groups; ++e) {
    const std::int64_t inside = op.begin[e + 1] - op.begin[e];
    if (op.groups_sum ? inside == 0 : inside % 4 != 0) return false;
    if (!op.groups_sum && 4 * inside * tiles_of(op.k) > kScratchBytes) return false;
  }
  return true;
}
bool library_is_better(const Context& context, const GroupedScaledMatmul& op) {
  if (context.architecture / 10 != 9 || op.groups > kMostGroups || !library_can(op)) return false;
  const auto depth = [&](int e) {
    return op.groups_sum ? static_cast<double>(op.begin[e + 1] - op.begin[e]) : 1.0;
  };
  return loop_is_quicker(order_of(op, kTileSide), context.multiprocessors, kShareOfWgmmaE4m3,
                         depth);
}

Code one_by_one(Context& context, const GroupedScaledMatmul& op) {
  for (std::int64_t e = 0; e < op.groups; ++e) {
    const Code code = op.groups_sum ? multiply_sum(context, op, e) : multiply_rows(context, op, e);
    if (code != Code::Ok) return code;
  }
  return Code::Ok;
}

}  // namespace

Code run(Context& context, const GroupedScaledMatmul& op) {
  if (op.groups < 1 || op.m < 1 || op.n < 1 || (op.k < 1 && !op.groups_sum)) return Code::Ok;
  const Code fits = check(context, op);
  if (fits != Code::Ok) return fits;
  return library_is_better(context, op) ? one_by_one(context, op) : scaled_by_kernel(context, op);
}

Code run(Context& context, const ScaledMatmul& op) {
  if (context.architecture / 10 == 9 && op.m % 4 == 0 && op.n % 16 == 0 && op.k % 16 == 0)
    return scaled_by_library(context, op, op.k);
  const std::int64_t begin[] = {0, op.m};
  return run(context, GroupedScaledMatmul{.out = op.out,
                                          .b_blocks = op.b_blocks,
                                          .groups = 1,
                                          .m = op.m,
                                          .n = op.n,
                                          .k = op.k,
                                          .begin = begin,
                                          .a = op.a,
                                          .scale_a = op.scale_a,
                                          .b = op.b,
                                          .scale_b = op.scale_b,
                                          .beta = op.beta,
                                          .c = op.c});
}

}  // namespace narrows::gpu

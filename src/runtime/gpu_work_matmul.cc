// Matmuls on a GPU: dense and grouped ones, and those in E4M3 with scales by block.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/gpu_site.h"

namespace narrows::gpu_site {
namespace {

using gpu::Type;

struct Extents {
  std::int64_t m, n, k;
};

Samples dense(Site& site, const GpuWork& work, Type type, const Extents& e) {
  gpu::Matmul op{.type = type, .out = type};
  void* x = TRY(site.numbers(type, e.m * e.k));
  void* w = TRY(site.numbers(type, e.n * e.k));
  void* y = TRY(site.numbers(type, e.m * e.n));
  switch (work.direction) {
    case Direction::Forward:
      op.transpose_b = true;
      op.m = e.m, op.n = e.n, op.k = e.k;
      op.a = x, op.stride_a = e.k, op.b = w, op.stride_b = e.k, op.c = y, op.stride_c = e.n;
      break;
    case Direction::InputGrad:
      op.m = e.m, op.n = e.k, op.k = e.n;
      op.a = y, op.stride_a = e.n, op.b = w, op.stride_b = e.k, op.c = x, op.stride_c = e.k;
      break;
    case Direction::WeightGrad:
      op.transpose_a = true;
      op.m = e.n, op.n = e.k, op.k = e.m;
      op.a = y, op.stride_a = e.n, op.b = x, op.stride_b = e.k, op.c = w, op.stride_c = e.k;
      break;
  }
  return site.time(op);
}

Samples grouped(Site& site, const GpuWork& work, Type type, const Extents& e) {
  const std::int64_t groups = work.matmul.groups;
  std::vector<std::int64_t> begin;
  for (std::int64_t g = 0; g <= groups; ++g) begin.push_back(e.m * g / groups);
  const gpu::GroupedMatmul op{.pass = static_cast<gpu::Pass>(work.direction),
                              .type = type,
                              .out = type,
                              .groups = groups,
                              .n = e.n,
                              .k = e.k,
                              .begin = begin.data(),
                              .x = TRY(site.numbers(type, e.m * e.k)),
                              .w = TRY(site.numbers(type, groups * e.n * e.k)),
                              .y = TRY(site.numbers(type, e.m * e.n))};
  return site.time(op);
}

// The three matmuls of deepseek2024 §3.3 as one shape: what is summed over is quantised along.
Extents scaled_extents(Direction direction, const Extents& e) {
  if (direction == Direction::Forward) return e;
  if (direction == Direction::InputGrad) return {e.m, e.k, e.n};
  return {e.n, e.k, e.m};
}

// Rows along the sum in E4M3, `matrices` of them.
struct Quantised {
  const std::uint8_t* bytes;
  const float* scales;
};
Result<Quantised> quantised(Site& site, std::int64_t matrices, std::int64_t rows, std::int64_t sum,
                            bool blocks) {
  const std::int64_t each =
      blocks ? gpu::tiles_of(rows) * gpu::block_scale_stride(sum) : gpu::tiles_of(sum) * rows;
  const std::int64_t numbers = matrices * rows * sum;
  auto* const from = static_cast<std::uint16_t*>(TRY(site.numbers(kBf16, numbers)));
  std::uint8_t* const bytes = TRY(site.bytes(numbers));
  float* const scales = TRY(site.floats(matrices * each));
  for (std::int64_t i = 0; i < matrices; ++i) {
    TRY(site.once(gpu::Quantise{kBf16, blocks ? gpu::Tiles::Blocks : gpu::Tiles::Rows,
                                from + i * rows * sum, rows, sum, bytes + i * rows * sum,
                                scales + i * each}));
  }
  return Quantised{bytes, scales};
}

Samples scaled(Site& site, const GpuWork& work, const Extents& shape) {
  const Extents e = scaled_extents(work.direction, shape);
  const bool blocks = work.direction != Direction::WeightGrad;
  const Type out = blocks ? kBf16 : kF32;
  const Quantised a = TRY(quantised(site, 1, e.m, e.k, false));
  const Quantised b = TRY(quantised(site, 1, e.n, e.k, blocks));
  void* c = TRY(site.numbers(out, e.m * e.n));
  return site.time(
      gpu::ScaledMatmul{out, blocks, e.m, e.n, e.k, a.bytes, a.scales, b.bytes, b.scales, 0, c});
}

// Groups of even rows. Where a group is summed over it is padded to whole scales, as in training.
Samples grouped_scaled(Site& site, const GpuWork& work, const Extents& shape) {
  const std::int64_t groups = work.matmul.groups;
  const bool sums = work.direction == Direction::WeightGrad;
  std::vector<std::int64_t> begin = {0};
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t rows = shape.m * (g + 1) / groups - shape.m * g / groups;
    begin.push_back(begin.back() + (sums ? 128 * gpu::tiles_of(rows) : rows));
  }
  const Extents e = scaled_extents(work.direction, {begin.back(), shape.n, shape.k});
  const Type out = sums ? kF32 : kBf16;
  const Quantised a = TRY(quantised(site, 1, e.m, e.k, false));
  const Quantised b = TRY(quantised(site, sums ? 1 : groups, e.n, e.k, !sums));
  return site.time(
      gpu::GroupedScaledMatmul{.out = out,
                               .groups_sum = sums,
                               .b_blocks = !sums,
                               .groups = groups,
                               .m = e.m,
                               .n = e.n,
                               .k = e.k,
                               .begin = begin.data(),
                               .a = a.bytes,
                               .scale_a = a.scales,
                               .b = b.bytes,
                               .scale_b = b.scales,
                               .c = TRY(site.numbers(out, (sums ? groups : 1) * e.m * e.n))});
}

}  // namespace

Samples matmul(Site& site, const GpuWork& work) {
  const Extents e{static_cast<std::int64_t>(work.matmul.m.expected), work.matmul.n, work.matmul.k};
  const bool is_grouped = work.matmul.groups > 1;
  if (work.recipe == Recipe::Fp8Block)
    return is_grouped ? grouped_scaled(site, work, e) : scaled(site, work, e);
  if (work.recipe != Recipe::Bf16 && work.recipe != Recipe::F32) {
    return unsupported("a matmul in " + to_string(work.recipe) +
                       ": expected f32, bf16 or fp8-block");
  }
  const Type type = work.recipe == Recipe::F32 ? kF32 : kBf16;
  return is_grouped ? grouped(site, work, type, e) : dense(site, work, type, e);
}

}  // namespace narrows::gpu_site

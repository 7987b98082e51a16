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

Samples scaled(Site& site, const GpuWork& work, const Extents& shape) {
  if (work.matmul.groups > 1) return unsupported("a grouped matmul in fp8: no kernel yet");
  const Extents e = scaled_extents(work.direction, shape);
  const bool blocks = work.direction != Direction::WeightGrad;
  const std::int64_t tiles = gpu::tiles_of(e.k);
  const Type out = blocks ? kBf16 : kF32;
  void* a = TRY(site.numbers(kBf16, e.m * e.k));
  void* b = TRY(site.numbers(kBf16, e.n * e.k));
  std::uint8_t* a8 = TRY(site.bytes(e.m * e.k));
  std::uint8_t* b8 = TRY(site.bytes(e.n * e.k));
  float* scale_a = TRY(site.floats(tiles * e.m));
  float* scale_b =
      TRY(site.floats(blocks ? gpu::tiles_of(e.n) * gpu::block_scale_stride(e.k) : tiles * e.n));
  const gpu::Tiles of_b = blocks ? gpu::Tiles::Blocks : gpu::Tiles::Rows;
  TRY(site.once(gpu::Quantise{kBf16, gpu::Tiles::Rows, a, e.m, e.k, a8, scale_a}));
  TRY(site.once(gpu::Quantise{kBf16, of_b, b, e.n, e.k, b8, scale_b}));
  void* c = TRY(site.numbers(out, e.m * e.n));
  const gpu::ScaledMatmul op{out, blocks, e.m, e.n, e.k, a8, scale_a, b8, scale_b, 0, c};
  return site.time(op);
}

}  // namespace

Samples matmul(Site& site, const GpuWork& work) {
  const Extents e{static_cast<std::int64_t>(work.matmul.m.expected), work.matmul.n, work.matmul.k};
  if (work.recipe == Recipe::Fp8Block) return scaled(site, work, e);
  if (work.recipe != Recipe::Bf16 && work.recipe != Recipe::F32) {
    return unsupported("a matmul in " + to_string(work.recipe) +
                       ": expected f32, bf16 or fp8-block");
  }
  const Type type = work.recipe == Recipe::F32 ? kF32 : kBf16;
  return work.matmul.groups > 1 ? grouped(site, work, type, e) : dense(site, work, type, e);
}

}  // namespace narrows::gpu_site

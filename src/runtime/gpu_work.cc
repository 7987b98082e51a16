// SPDX-License-Identifier: Apache-2.0
#include "runtime/gpu_work.h"

#include <algorithm>
#include <span>

namespace narrows {
namespace {

using gpu::Type;

constexpr Type kBf16 = Type::Bf16, kF32 = Type::F32;

double bytes_of(Type type) { return type == kF32 ? 4 : 2; }

// The memory of one op, and its runs.
class Site {
 public:
  Site(Gpu& gpu, const GpuRules& rules) : gpu_(gpu), rules_(rules) {}

  // Room for `count` numbers, random ones.
  Result<void*> numbers(Type type, std::int64_t count) {
    const std::int64_t bytes = count * static_cast<std::int64_t>(bytes_of(type));
    memory_.push_back(TRY(GpuMemory::allocate(gpu_, bytes)));
    TRY(memory_.back().randomise(type, memory_.size()));
    return memory_.back().data();
  }
  Result<float*> floats(std::int64_t count) {
    return static_cast<float*>(TRY(numbers(kF32, count)));
  }
  // Zeros: sums of squares before the first step.
  Result<float*> zeros(std::int64_t count) {
    memory_.push_back(TRY(GpuMemory::allocate(gpu_, 4 * count)));
    TRY(memory_.back().fill(0));
    return memory_.back().as<float>();
  }
  // Whole numbers below `below`, in a fixed and even order.
  Result<std::int32_t*> indices(std::int64_t count, std::int64_t below) {
    std::vector<std::int32_t> values;
    for (std::int64_t i = 0; i < count; ++i) {
      values.push_back(static_cast<std::int32_t>(i * 2654435761 % below));
    }
    memory_.push_back(TRY(GpuMemory::allocate(gpu_, 4 * count)));
    TRY(memory_.back().from_host(values.data(), 4 * count));
    return memory_.back().as<std::int32_t>();
  }
  template <typename Op>
  Status once(const Op& op) {
    TRY(gpu_.run(op));
    return gpu_.wait();
  }
  template <typename Op>
  Result<GpuTimes> time(const Op& op, double flops, double bytes) {
    return GpuTimes{
        TRY(gpu_.time(std::span<const Op>(&op, 1), rules_.warm, rules_.samples, rules_.kernels)),
        flops, bytes};
  }

 private:
  Gpu& gpu_;
  const GpuRules& rules_;
  std::vector<GpuMemory> memory_;
};

struct Extents {
  std::int64_t m, n, k;
  double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

Result<GpuTimes> dense(Site& site, const GpuWork& work, Type type, const Extents& e) {
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
  const double numbers = static_cast<double>(e.m * e.k + e.n * e.k + e.m * e.n);
  return site.time(op, e.flops(), bytes_of(type) * numbers);
}

Result<GpuTimes> grouped(Site& site, const GpuWork& work, Type type, const Extents& e) {
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
  const double numbers = static_cast<double>(e.m * e.k + groups * e.n * e.k + e.m * e.n);
  return site.time(op, e.flops(), bytes_of(type) * numbers);
}

// The three matmuls of deepseek2024 §3.3 as one shape: what is summed over is quantised along.
Extents scaled_extents(Direction direction, const Extents& e) {
  if (direction == Direction::Forward) return e;
  if (direction == Direction::InputGrad) return {e.m, e.k, e.n};
  return {e.n, e.k, e.m};
}

Result<GpuTimes> scaled(Site& site, const GpuWork& work, const Extents& shape) {
  if (work.matmul.groups > 1) return unsupported("a grouped matmul in fp8: no kernel yet");
  const Extents e = scaled_extents(work.direction, shape);
  const bool blocks = work.direction != Direction::WeightGrad;
  const std::int64_t tiles = gpu::tiles_of(e.k);
  const Type out = blocks ? kBf16 : kF32;
  void* a = TRY(site.numbers(kBf16, e.m * e.k));
  void* b = TRY(site.numbers(kBf16, e.n * e.k));
  std::uint8_t* a8 = static_cast<std::uint8_t*>(TRY(site.numbers(kBf16, e.m * e.k / 2 + 1)));
  std::uint8_t* b8 = static_cast<std::uint8_t*>(TRY(site.numbers(kBf16, e.n * e.k / 2 + 1)));
  float* scale_a = TRY(site.floats(tiles * e.m));
  float* scale_b =
      TRY(site.floats(blocks ? gpu::tiles_of(e.n) * gpu::block_scale_stride(e.k) : tiles * e.n));
  const gpu::Tiles of_b = blocks ? gpu::Tiles::Blocks : gpu::Tiles::Rows;
  TRY(site.once(gpu::Quantise{kBf16, gpu::Tiles::Rows, a, e.m, e.k, a8, scale_a}));
  TRY(site.once(gpu::Quantise{kBf16, of_b, b, e.n, e.k, b8, scale_b}));
  void* c = TRY(site.numbers(out, e.m * e.n));
  const gpu::ScaledMatmul op{out, blocks, e.m, e.n, e.k, a8, scale_a, b8, scale_b, 0, c};
  const double read = static_cast<double>(e.m * e.k + e.n * e.k);
  return site.time(op, e.flops(), read + bytes_of(out) * static_cast<double>(e.m * e.n));
}

Result<GpuTimes> matmul(Site& site, const GpuWork& work) {
  const Extents e{static_cast<std::int64_t>(work.matmul.m.expected), work.matmul.n, work.matmul.k};
  if (work.recipe == Recipe::Fp8Block) return scaled(site, work, e);
  if (work.recipe != Recipe::Bf16 && work.recipe != Recipe::F32) {
    return unsupported("a matmul in " + to_string(work.recipe) +
                       ": expected f32, bf16 or fp8-block");
  }
  const Type type = work.recipe == Recipe::F32 ? kF32 : kBf16;
  return work.matmul.groups > 1 ? grouped(site, work, type, e) : dense(site, work, type, e);
}

Result<GpuTimes> attention(Site& site, const GpuWork& work) {
  const AttentionShape& s = work.attention;
  if (!s.causal) return unsupported("attention that is not causal: no kernel");
  const std::int64_t batch = static_cast<std::int64_t>(s.batch);
  const std::int64_t rows = batch * s.queries, keys = batch * s.keys;
  const auto heads = [&](std::int64_t tokens, std::int64_t count,
                         std::int64_t dim) -> Result<gpu::Heads> {
    return gpu::Heads{TRY(site.numbers(kBf16, tokens * count * dim)), count * dim, dim};
  };
  gpu::Attention op{.q = TRY(heads(rows, s.heads, s.qk_dim)),
                    .k = TRY(heads(keys, s.kv_heads, s.qk_dim)),
                    .v = TRY(heads(keys, s.kv_heads, s.v_dim)),
                    .out = TRY(heads(rows, s.heads, s.v_dim)),
                    .log_sum_exp = TRY(site.floats(rows * s.heads)),
                    .batch = batch,
                    .heads = s.heads,
                    .kv_heads = s.kv_heads,
                    .queries = s.queries,
                    .keys = s.keys,
                    .qk_dim = s.qk_dim,
                    .v_dim = s.v_dim,
                    .window = s.window};
  const double pairs =
      s.batch * s.heads * static_cast<double>(s.queries) * static_cast<double>(s.keys) / 2;
  const double q_numbers = static_cast<double>(rows * s.heads) * (s.qk_dim + s.v_dim);
  const double k_numbers = static_cast<double>(keys * s.kv_heads) * (s.qk_dim + s.v_dim);
  if (work.direction == Direction::Forward) {
    return site.time(op, 2 * pairs * (s.qk_dim + s.v_dim), 2 * (q_numbers + k_numbers));
  }
  TRY(site.once(op));
  const gpu::AttentionGrad grad{.forward = op,
                                .dout = TRY(heads(rows, s.heads, s.v_dim)),
                                .dq = TRY(heads(rows, s.heads, s.qk_dim)),
                                .dk = TRY(heads(keys, s.kv_heads, s.qk_dim)),
                                .dv = TRY(heads(keys, s.kv_heads, s.v_dim)),
                                .dq_sums = TRY(site.floats(rows * s.heads * s.qk_dim)),
                                .out_dots = TRY(site.floats(rows * s.heads))};
  return site.time(grad, 2 * pairs * (3 * s.qk_dim + 2 * s.v_dim), 4 * (q_numbers + k_numbers));
}

Result<GpuTimes> norm(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  const double numbers = static_cast<double>(count);
  const gpu::Norm op{kBf16,
                     TRY(site.numbers(kBf16, count)),
                     TRY(site.floats(work.columns)),
                     TRY(site.numbers(kBf16, count)),
                     work.rows,
                     work.columns,
                     work.columns,
                     1e-6f};
  if (work.direction == Direction::Forward) return site.time(op, 4 * numbers, 4 * numbers);
  const gpu::NormGrad grad{op,
                           TRY(site.numbers(kBf16, count)),
                           nullptr,
                           TRY(site.numbers(kBf16, count)),
                           TRY(site.floats(work.rows)),
                           TRY(site.floats(gpu::norm_parts(work.rows) * work.columns)),
                           TRY(site.floats(work.columns))};
  return site.time(grad, 11 * numbers, 10 * numbers);
}

Result<GpuTimes> activation(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  const double numbers = static_cast<double>(count);
  const gpu::SwiGlu op{kBf16,     TRY(site.numbers(kBf16, 2 * count)),
                       nullptr,   TRY(site.numbers(kBf16, count)),
                       work.rows, work.columns};
  if (work.direction == Direction::Forward) return site.time(op, 8 * numbers, 6 * numbers);
  const gpu::SwiGluGrad grad{op, TRY(site.numbers(kBf16, count)),
                             TRY(site.numbers(kBf16, 2 * count)), nullptr};
  return site.time(grad, 16 * numbers, 10 * numbers);
}

Result<GpuTimes> elementwise(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  const double numbers = static_cast<double>(count);
  const gpu::Add op{kBf16, TRY(site.numbers(kBf16, count)), TRY(site.numbers(kBf16, count)),
                    TRY(site.numbers(kBf16, count)), count};
  return site.time(op, numbers, 6 * numbers);
}

Result<GpuTimes> quantise(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  const gpu::Quantise op{kBf16,
                         gpu::Tiles::Rows,
                         TRY(site.numbers(kBf16, count)),
                         work.rows,
                         work.columns,
                         static_cast<std::uint8_t*>(TRY(site.numbers(kBf16, count / 2 + 1))),
                         TRY(site.floats(gpu::tiles_of(work.columns) * work.rows))};
  return site.time(op, 2.0 * static_cast<double>(count), 3.0 * static_cast<double>(count));
}

// V3's choice: 8 of the experts, in 4 of 8 groups where they divide so.
Result<GpuTimes> router(Site& site, const GpuWork& work) {
  const bool in_groups = work.columns % 8 == 0 && work.columns >= 64;
  const std::int64_t top_k = std::min<std::int64_t>(8, work.columns);
  const gpu::Router op{.logits = TRY(site.floats(work.rows * work.columns)),
                       .bias = TRY(site.floats(work.columns)),
                       .chosen = TRY(site.floats(work.rows * 3 * top_k)),
                       .rows = work.rows,
                       .experts = work.columns,
                       .top_k = top_k,
                       .groups = in_groups ? 8 : 1,
                       .top_groups = in_groups ? 4 : 1,
                       .sigmoid = true};
  const double logits = 4.0 * static_cast<double>(work.rows * work.columns);
  const double chosen = 12.0 * static_cast<double>(work.rows * top_k);
  return site.time(op, logits, logits + chosen);
}

// Each of `rows` is picked from an eighth as many, as V3's tokens are for dispatch.
Result<GpuTimes> permute(Site& site, const GpuWork& work) {
  const std::int64_t from = std::max<std::int64_t>(1, work.rows / 8);
  const gpu::PickRows op{kBf16,
                         TRY(site.numbers(kBf16, from * work.columns)),
                         TRY(site.indices(work.rows, from)),
                         TRY(site.numbers(kBf16, work.rows * work.columns)),
                         work.rows,
                         work.columns,
                         1};
  return site.time(op, 0, 4.0 * static_cast<double>(work.rows * work.columns));
}

Result<GpuTimes> loss(Site& site, const GpuWork& work) {
  const double numbers = static_cast<double>(work.rows * work.columns);
  void* logits = TRY(site.numbers(kBf16, work.rows * work.columns));
  const std::int32_t* targets = TRY(site.indices(work.rows, work.columns));
  float* parts = TRY(site.floats(3 * work.rows));
  const gpu::PartialSoftmax op{kBf16,        logits, work.rows, work.columns,
                               work.columns, 0,      targets,   parts};
  if (work.direction == Direction::Forward) return site.time(op, 5 * numbers, 2 * numbers);
  TRY(site.once(op));
  const gpu::LossGrad grad{kBf16, logits,  work.rows, work.columns, work.columns,
                           0,     targets, parts,     1.0f};
  return site.time(grad, 4 * numbers, 4 * numbers);
}

Result<GpuTimes> optimizer(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  const gpu::AdamW op{.weight = TRY(site.floats(count)),
                      .gradient = TRY(site.floats(count)),
                      .first_moment = TRY(site.floats(count)),
                      .second_moment = TRY(site.zeros(count)),
                      .count = count,
                      .learning_rate = 1e-4,
                      .decay = 0.1};
  return site.time(op, 12.0 * static_cast<double>(count), 28.0 * static_cast<double>(count));
}

}  // namespace

Result<GpuTimes> time_on_gpu(Gpu& gpu, const GpuWork& work, const GpuRules& rules) {
  Site site(gpu, rules);
  switch (work.kind) {
    case OpKind::Matmul:
      return matmul(site, work);
    case OpKind::Attention:
      return attention(site, work);
    case OpKind::Norm:
      return norm(site, work);
    case OpKind::ActivationFn:
      return activation(site, work);
    case OpKind::Elementwise:
      return elementwise(site, work);
    case OpKind::Quantise:
      return quantise(site, work);
    case OpKind::Router:
      return router(site, work);
    case OpKind::Permute:
      return permute(site, work);
    case OpKind::Loss:
      return loss(site, work);
    case OpKind::Optimizer:
      return optimizer(site, work);
    default:
      return unsupported(to_string(work.kind) + ": not timed on a GPU");
  }
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/gpu_work.h"

#include <algorithm>

#include "runtime/gpu_site.h"

namespace narrows {
namespace gpu_site {

Result<void*> Site::numbers(gpu::Type type, std::int64_t count) {
  memory_.push_back(TRY(GpuMemory::allocate(gpu_, count * (type == kF32 ? 4 : 2))));
  TRY(memory_.back().randomise(type, memory_.size()));
  return memory_.back().data();
}

Result<float*> Site::floats(std::int64_t count) {
  return static_cast<float*>(TRY(numbers(kF32, count)));
}

Result<std::uint8_t*> Site::bytes(std::int64_t count) {
  memory_.push_back(TRY(GpuMemory::allocate(gpu_, count)));
  return memory_.back().as<std::uint8_t>();
}

Result<float*> Site::zeros(std::int64_t count) {
  memory_.push_back(TRY(GpuMemory::allocate(gpu_, 4 * count)));
  TRY(memory_.back().fill(0));
  return memory_.back().as<float>();
}

Result<std::int32_t*> Site::indices(std::int64_t count, std::int64_t below) {
  std::vector<std::int32_t> values;
  for (std::int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<std::int32_t>(i * 2654435761 % below));
  memory_.push_back(TRY(GpuMemory::allocate(gpu_, 4 * count)));
  TRY(memory_.back().from_host(values.data(), 4 * count));
  return memory_.back().as<std::int32_t>();
}

namespace {

bool is_forward(const GpuWork& work) { return work.direction == Direction::Forward; }

Samples attention(Site& site, const GpuWork& work) {
  const AttentionShape& s = work.attention;
  if (!s.causal) return unsupported("attention that is not causal: no kernel");
  if (s.queries != s.keys) return unsupported("attention to keys of other ranks: not timed");
  const std::int64_t rows = static_cast<std::int64_t>(s.batch) * s.queries;
  const auto heads = [&](std::int64_t count, std::int64_t dim) -> Result<gpu::Heads> {
    return gpu::Heads{TRY(site.numbers(kBf16, rows * count * dim)), count * dim, dim};
  };
  gpu::Attention op{.q = TRY(heads(s.heads, s.qk_dim)),
                    .k = TRY(heads(s.kv_heads, s.qk_dim)),
                    .v = TRY(heads(s.kv_heads, s.v_dim)),
                    .out = TRY(heads(s.heads, s.v_dim)),
                    .log_sum_exp = TRY(site.floats(rows * s.heads)),
                    .batch = static_cast<std::int64_t>(s.batch),
                    .heads = s.heads,
                    .kv_heads = s.kv_heads,
                    .queries = s.queries,
                    .keys = s.keys,
                    .qk_dim = s.qk_dim,
                    .v_dim = s.v_dim,
                    .window = s.window};
  if (is_forward(work)) return site.time(op);
  TRY(site.once(op));
  const gpu::AttentionGrad grad{.forward = op,
                                .dout = TRY(heads(s.heads, s.v_dim)),
                                .dq = TRY(heads(s.heads, s.qk_dim)),
                                .dk = TRY(heads(s.kv_heads, s.qk_dim)),
                                .dv = TRY(heads(s.kv_heads, s.v_dim)),
                                .dq_sums = TRY(site.floats(rows * s.heads * s.qk_dim)),
                                .out_dots = TRY(site.floats(rows * s.heads))};
  return site.time(grad);
}

Samples norm(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  const gpu::Norm op{kBf16,
                     TRY(site.numbers(kBf16, count)),
                     TRY(site.floats(work.columns)),
                     TRY(site.numbers(kBf16, count)),
                     work.rows,
                     work.columns,
                     work.columns,
                     1e-6f};
  if (is_forward(work)) return site.time(op);
  const gpu::NormGrad grad{op,
                           TRY(site.numbers(kBf16, count)),
                           nullptr,
                           TRY(site.numbers(kBf16, count)),
                           TRY(site.floats(work.rows)),
                           TRY(site.floats(gpu::norm_parts(work.rows) * work.columns)),
                           TRY(site.floats(work.columns))};
  return site.time(grad);
}

Samples activation(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  const gpu::SwiGlu op{kBf16,     TRY(site.numbers(kBf16, 2 * count)),
                       nullptr,   TRY(site.numbers(kBf16, count)),
                       work.rows, work.columns};
  if (is_forward(work)) return site.time(op);
  const gpu::SwiGluGrad grad{op, TRY(site.numbers(kBf16, count)),
                             TRY(site.numbers(kBf16, 2 * count)), nullptr};
  return site.time(grad);
}

Samples elementwise(Site& site, const GpuWork& work) {
  if (!is_forward(work)) return unsupported("the gradient of a sum: handed on, no kernel");
  const std::int64_t count = work.rows * work.columns;
  return site.time(gpu::Add{kBf16, TRY(site.numbers(kBf16, count)), TRY(site.numbers(kBf16, count)),
                            TRY(site.numbers(kBf16, count)), count});
}

// All columns in heads of 64, each rotated whole.
Samples rope(Site& site, const GpuWork& work) {
  constexpr std::int64_t kDim = 64;
  if (work.columns % kDim != 0) return unsupported("rotation of heads that are not of 64");
  const std::int64_t half = work.rows * kDim / 2;
  const gpu::Table table{TRY(site.floats(half)), TRY(site.floats(half)), kDim};
  return site.time(gpu::Rotation{.type = kBf16,
                                 .x = TRY(site.numbers(kBf16, work.rows * work.columns)),
                                 .rows = work.rows,
                                 .stride = work.columns,
                                 .heads = work.columns / kDim,
                                 .head_stride = kDim,
                                 .positions = TRY(site.indices(work.rows, work.rows)),
                                 .table = table,
                                 .back = !is_forward(work)});
}

Samples quantise(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  return site.time(gpu::Quantise{kBf16, gpu::Tiles::Rows, TRY(site.numbers(kBf16, count)),
                                 work.rows, work.columns, TRY(site.bytes(count)),
                                 TRY(site.floats(gpu::tiles_of(work.columns) * work.rows))});
}

// V3's choice: 8 of the experts, in 4 of 8 groups where they divide so.
Samples router(Site& site, const GpuWork& work) {
  const bool in_groups = work.columns % 8 == 0 && work.columns >= 64;
  const std::int64_t top_k = chosen_of(work.columns);
  const gpu::Router op{.logits = TRY(site.floats(work.rows * work.columns)),
                       .bias = TRY(site.floats(work.columns)),
                       .chosen = TRY(site.floats(work.rows * 3 * top_k)),
                       .rows = work.rows,
                       .experts = work.columns,
                       .top_k = top_k,
                       .groups = in_groups ? 8 : 1,
                       .top_groups = in_groups ? 4 : 1,
                       .sigmoid = true};
  if (is_forward(work)) return site.time(op);
  TRY(site.once(op));
  return site.time(gpu::RouterGrad{op, TRY(site.floats(work.rows * top_k)),
                                   TRY(site.floats(work.rows * work.columns))});
}

// Each of `rows` is picked from an eighth as many, as V3's tokens are for dispatch.
Samples permute(Site& site, const GpuWork& work) {
  const std::int64_t from = std::max<std::int64_t>(1, work.rows / 8);
  return site.time(gpu::PickRows{
      kBf16, TRY(site.numbers(kBf16, from * work.columns)), TRY(site.indices(work.rows, from)),
      TRY(site.numbers(kBf16, work.rows * work.columns)), work.rows, work.columns, 1});
}

// Of a table of 32,768 rows.
Samples embedding(Site& site, const GpuWork& work) {
  constexpr std::int64_t kTable = 1 << 15;
  const std::int32_t* rows = TRY(site.indices(work.rows, kTable));
  void* out = TRY(site.numbers(kBf16, work.rows * work.columns));
  if (is_forward(work)) {
    void* table = TRY(site.numbers(kBf16, kTable * work.columns));
    return site.time(gpu::PickRows{kBf16, table, rows, out, work.rows, work.columns, 1});
  }
  float* table = TRY(site.floats(kTable * work.columns));
  return site.time(gpu::ScatterRows{kBf16, out, rows, table, work.rows, work.columns});
}

Samples loss(Site& site, const GpuWork& work) {
  void* logits = TRY(site.numbers(kBf16, work.rows * work.columns));
  const std::int32_t* targets = TRY(site.indices(work.rows, work.columns));
  float* parts = TRY(site.floats(3 * work.rows));
  const gpu::PartialSoftmax op{kBf16,        logits, work.rows, work.columns,
                               work.columns, 0,      targets,   parts};
  if (is_forward(work)) return site.time(op);
  TRY(site.once(op));
  return site.time(
      gpu::LossGrad{kBf16, logits, work.rows, work.columns, work.columns, 0, targets, parts, 1.0f});
}

Samples optimizer(Site& site, const GpuWork& work) {
  const std::int64_t count = work.rows * work.columns;
  return site.time(gpu::AdamW{.weight = TRY(site.floats(count)),
                              .gradient = TRY(site.floats(count)),
                              .first_moment = TRY(site.floats(count)),
                              .second_moment = TRY(site.zeros(count)),
                              .count = count,
                              .learning_rate = 1e-4,
                              .decay = 0.1});
}

Samples samples_of(Site& site, const GpuWork& work) {
  switch (work.kind) {
    case OpKind::Matmul:
      return matmul(site, work);
    case OpKind::Attention:
      return attention(site, work);
    case OpKind::Norm:
      return norm(site, work);
    case OpKind::Rope:
      return rope(site, work);
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
    case OpKind::Embedding:
      return embedding(site, work);
    case OpKind::Loss:
      return loss(site, work);
    case OpKind::Optimizer:
      return optimizer(site, work);
    default:
      return unsupported(to_string(work.kind) + ": not timed on a GPU");
  }
}

}  // namespace
}  // namespace gpu_site

Seconds kernel_time(const gpu::Sample& sample) {
  return (sample.span > 0 ? sample.span : sample.events) * sec;
}

Result<GpuTimes> time_on_gpu(Gpu& gpu, const GpuWork& work, const GpuRules& rules) {
  gpu_site::Site site(gpu, rules);
  std::vector<gpu::Sample> samples = TRY(gpu_site::samples_of(site, work));
  return GpuTimes{std::move(samples), floor_of(work)};
}

}  // namespace narrows

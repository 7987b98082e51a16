// What no kernel of an op can do without, of ops timed on a GPU (gpu_work.h).
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/gpu_site.h"

namespace narrows {
namespace {

// FLOPs and bytes of a number, forward and backward, of what moves memory in bf16.
struct Each {
  double flops, bytes, flops_back, bytes_back;
};
Each each_of(OpKind kind) {
  switch (kind) {
    case OpKind::Norm:
      return {4, 4, 11, 10};
    case OpKind::Rope:
      return {3, 4, 3, 4};
    case OpKind::ActivationFn:
      return {8, 6, 16, 10};
    case OpKind::Elementwise:
      return {1, 6, 0, 0};
    case OpKind::Quantise:
      return {2, 3, 2, 3};
    case OpKind::Router:
      return {4, 4, 4, 8};
    case OpKind::Permute:
      return {0, 4, 0, 4};
    case OpKind::Embedding:
      return {0, 4, 1, 10};
    case OpKind::Loss:
      return {5, 2, 4, 4};
    case OpKind::Optimizer:
      return {12, 28, 12, 28};
    default:
      return {0, 0, 0, 0};
  }
}

GpuFloor matmul_floor(const GpuWork& work) {
  const double m = work.matmul.m.expected, n = static_cast<double>(work.matmul.n),
               k = static_cast<double>(work.matmul.k);
  const double weights = std::max(1, work.matmul.groups) * n * k;
  if (work.recipe != Recipe::Fp8Block) {
    const double each = work.recipe == Recipe::F32 ? 4 : 2;
    return {2 * m * n * k, each * (m * k + weights + m * n)};
  }
  // What is read is a byte each; results are bf16, of weights f32.
  const double read = m * k + weights + m * n;
  switch (work.direction) {
    case Direction::Forward:
      return {2 * m * n * k, read - m * n + 2 * m * n};
    case Direction::InputGrad:
      return {2 * m * n * k, read - m * k + 2 * m * k};
    case Direction::WeightGrad:
      break;
  }
  return {2 * m * n * k, read - weights + 4 * weights};
}

GpuFloor attention_floor(const GpuWork& work) {
  const AttentionShape& s = work.attention;
  const double queries = s.batch * static_cast<double>(s.queries);
  const double keys = s.batch * static_cast<double>(s.keys);
  const double pairs = queries * s.heads * static_cast<double>(s.keys) / 2;
  const double numbers = (queries * s.heads + keys * s.kv_heads) * (s.qk_dim + s.v_dim);
  if (work.direction == Direction::Forward) return {2 * pairs * (s.qk_dim + s.v_dim), 2 * numbers};
  return {2 * pairs * (3 * s.qk_dim + 2 * s.v_dim), 4 * numbers};
}

}  // namespace

GpuFloor floor_of(const GpuWork& work) {
  if (work.kind == OpKind::Matmul) return matmul_floor(work);
  if (work.kind == OpKind::Attention) return attention_floor(work);
  const double numbers = static_cast<double>(work.rows) * static_cast<double>(work.columns);
  const bool forward = work.direction == Direction::Forward;
  const Each each = each_of(work.kind);
  GpuFloor floor{numbers * (forward ? each.flops : each.flops_back),
                 numbers * (forward ? each.bytes : each.bytes_back)};
  // Each choice is three numbers, and backward the gradient of its weight.
  if (work.kind == OpKind::Router) {
    const std::int64_t choices = work.rows * gpu_site::chosen_of(work.columns);
    floor.bytes += (forward ? 12.0 : 16.0) * static_cast<double>(choices);
  }
  return floor;
}

}  // namespace narrows

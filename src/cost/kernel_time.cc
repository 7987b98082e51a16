// SPDX-License-Identifier: Apache-2.0
#include "cost/kernel_time.h"

#include <algorithm>

#include "cost/kernel_time_attention.h"
#include "cost/kernel_time_matmul.h"
#include "cost/kernel_time_memory.h"
#include "cost/machine_times.h"

namespace narrows {

KernelTimes::KernelTimes(const KernelTables& tables, const Chip& chip,
                         const std::string& generation, const std::string& attention_generation) {
  if (is_machine(chip)) {
    machine_ = std::make_unique<MachineTimes>(tables, chip);
    return;
  }
  matmul_ = std::make_unique<MatmulTimes>(tables, chip, generation);
  attention_ = std::make_unique<AttentionTimes>(
      tables, chip, attention_generation.empty() ? generation : attention_generation);
  memory_ = std::make_unique<MemoryTimes>(tables, chip);
}

KernelTimes::KernelTimes(const KernelTables& tables, const Chip& chip,
                         const SoftwareProfile& software)
    : KernelTimes(tables, chip, software.kernel_generation, software.attention_kernels) {}

KernelTimes::~KernelTimes() = default;
KernelTimes::KernelTimes(KernelTimes&&) noexcept = default;
KernelTimes& KernelTimes::operator=(KernelTimes&&) noexcept = default;

Estimate KernelTimes::matmul(Recipe recipe, Direction direction, const MatmulShape& shape) const {
  if (machine_) return machine_->matmul(recipe, direction, shape);
  return matmul_->time(recipe, direction, shape);
}

Estimate KernelTimes::attention(Recipe recipe, Direction direction,
                                const AttentionShape& shape) const {
  if (machine_) return machine_->attention(recipe, direction, shape);
  return attention_->time(recipe, direction, shape);
}

Estimate KernelTimes::materialised_attention(Recipe recipe, Direction direction,
                                             const AttentionShape& shape) const {
  const double each = shape.batch * shape.heads;
  const Rows queries = exactly(each * static_cast<double>(shape.queries));
  const Rows keys = exactly(each * static_cast<double>(shape.keys));
  const int groups = std::max(1, static_cast<int>(each));
  Estimate sum{Seconds(), Basis::Measured, 0};
  const auto add = [&](const Rows& rows, std::int64_t n, std::int64_t k) {
    const Estimate one = matmul(recipe, Direction::Forward, {rows, n, k, groups});
    const Seconds time = sum.time + one.time;
    sum.error = (sum.error * sum.time + one.error * one.time) / time;
    sum.time = time;
    sum.basis = std::max(sum.basis, one.basis);
  };
  if (direction == Direction::Forward) {
    add(queries, shape.keys, shape.qk_dim);
    add(queries, shape.v_dim, shape.keys);
    return sum;
  }
  add(queries, shape.keys, shape.v_dim);  // of the probabilities, then dV, dQ and dK
  add(keys, shape.v_dim, shape.queries);
  add(queries, shape.qk_dim, shape.keys);
  add(keys, shape.qk_dim, shape.queries);
  return sum;
}

Estimate KernelTimes::memory_bound(OpKind kind, Bytes traffic, Direction direction,
                                   Recipe recipe) const {
  if (machine_) return machine_->memory_bound(recipe, kind, direction, traffic);
  return memory_->time(kind, traffic);
}

Estimate KernelTimes::packing(Recipe recipe, Direction direction, double elements) const {
  if (machine_) return machine_->packing(recipe, direction, elements);
  return {Seconds(), Basis::Measured, 0};
}

Estimate KernelTimes::optimizer(Bytes traffic) const {
  return memory_bound(OpKind::Optimizer, traffic);
}

}  // namespace narrows

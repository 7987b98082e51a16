// SPDX-License-Identifier: Apache-2.0
#include "cost/state_bytes.h"

namespace narrows {

HeldParameters& HeldParameters::operator+=(const HeldParameters& other) {
  dense += other.dense;
  norm += other.norm;
  expert += other.expert;
  tables += other.tables;
  adapters += other.adapters;
  frozen = frozen || other.frozen;
  return *this;
}

HeldParameters trained(const HeldParameters& held) {
  if (!held.frozen) return held;
  HeldParameters adapters;
  adapters.dense = held.adapters;
  return adapters;
}

HeldTable::HeldTable(const ModelSpec& model, const Strategy& strategy)
    : table_(static_cast<double>(model.vocab) * model.hidden / strategy.tp),
      positions_(static_cast<double>(model.learned_positions) * model.hidden),
      tied_(model.tied_embeddings),
      frozen_(model.lora_rank > 0) {
  for (const ItemKind kind : items_of(model)) {
    const ItemParameters p = item_parameters(model, kind);
    HeldParameters& held = by_kind_[static_cast<std::size_t>(kind)];
    held.dense = (p.dense - p.replicated) / strategy.tp + p.replicated;
    held.norm = p.norm;
    held.expert = p.expert / (static_cast<double>(strategy.ep) * strategy.etp);
    const bool attends = kind != ItemKind::Embedding && kind != ItemKind::Head;
    if (attends) held.adapters = adapter_parameters(model, strategy.tp);
  }
}

HeldParameters HeldTable::of(std::span<const ItemClass> items) const {
  std::array<int, 5> counts{};
  for (const ItemClass& item : items) ++counts[static_cast<std::size_t>(item.kind)];
  return of(counts);
}

HeldParameters HeldTable::of(const std::array<int, 5>& counts) const {
  HeldParameters held;
  held.frozen = frozen_;
  for (std::size_t kind = 0; kind < 5; ++kind) {
    held.dense += counts[kind] * by_kind_[kind].dense;
    held.norm += counts[kind] * by_kind_[kind].norm;
    held.expert += counts[kind] * by_kind_[kind].expert;
    held.adapters += counts[kind] * by_kind_[kind].adapters;
  }
  const auto has = [&](ItemKind kind) { return counts[static_cast<std::size_t>(kind)] > 0; };
  const bool embeds = has(ItemKind::Embedding) || has(ItemKind::MtpBlock);
  const bool predicts = has(ItemKind::Head) || has(ItemKind::MtpBlock);
  const int tables = (embeds ? 1 : 0) + (predicts ? 1 : 0) - (embeds && predicts && tied_ ? 1 : 0);
  held.tables = tables * table_ + (embeds ? positions_ : 0);
  return held;
}

ShardSizes shard_sizes(const Strategy& strategy, const Grid& grid) {
  if (strategy.zero == 0) return {};
  const double copies = strategy.schedule == ScheduleKind::DualPipe ? 2 : 1;
  return {copies * strategy.dp_shard, copies * grid.expert_shard()};
}

Dtype stored_weight(Recipe recipe, bool linear, const SoftwareProfile& software) {
  if (linear && is_quantised(recipe) && software.resident_quantised_weights)
    return operand_dtype(recipe);
  return stored_dtype(software, recipe);
}

namespace {

// Linear weights (dense, expert) and the rest may be stored differently.
struct Split {
  double linear_dense, linear_expert, other;
};
Split split(const HeldParameters& held) {
  return {held.dense, held.expert, held.norm + held.tables + held.adapters};
}

// Bytes of one stored weight. Blocks of weights share a scale in both directions: 128 x 128
// (deepseek2024 §3.3.2), where activations have one per 1 x 128.
Bytes weight_element(Dtype dtype) {
  return dtype == Dtype::Fp8Block ? (1 + 4.0 / (128 * 128)) * byte : size_of(dtype);
}

// Master weights and both moments. Weights that are stored in the master's format are their own
// master; of 16-bit weights a stack may keep only the other half of it.
Bytes optimizer_element(Recipe recipe, const SoftwareProfile& software) {
  const Bytes moments = 2 * size_of(software.moment_dtype);
  const Dtype stored = stored_dtype(software, recipe);
  if (stored == Dtype::F32) return moments;
  if (is_quantised(recipe)) return moments + size_of(software.master_dtype);
  if (stored == software.master_dtype) return moments;
  const Bytes master = size_of(software.master_dtype);
  return moments + (software.master_remainders ? master - size_of(stored) : master);
}

}  // namespace

StateBytes state_bytes(const HeldParameters& held, const Strategy& strategy, const Grid& grid,
                       const SoftwareProfile& software) {
  const ShardSizes shards = shard_sizes(strategy, grid);
  const Split p = split(held), t = split(trained(held));
  const auto sharded = [&](int from, Bytes dense, Bytes expert) {
    return strategy.zero >= from ? dense / shards.dense + expert / shards.expert : dense + expert;
  };
  const Bytes linear = weight_element(stored_weight(strategy.precision, true, software));
  const Bytes other = weight_element(stored_weight(strategy.precision, false, software));
  const Bytes gradient = size_of(software.gradient_dtype);
  const Bytes state = optimizer_element(strategy.precision, software);
  StateBytes bytes;
  bytes.weights = sharded(3, p.linear_dense * linear + p.other * other, p.linear_expert * linear);
  bytes.gradients = sharded(2, (t.linear_dense + t.other) * gradient, t.linear_expert * gradient);
  bytes.optimizer = sharded(1, (t.linear_dense + t.other) * state, t.linear_expert * state);
  return bytes;
}

Bytes optimizer_traffic(const HeldParameters& all, const Strategy& strategy, const Grid& grid,
                        const SoftwareProfile& software) {
  const HeldParameters held = trained(all);
  const ShardSizes shards = shard_sizes(strategy, grid);
  const double dense = (held.dense + held.norm + held.tables) / shards.dense;
  const double expert = held.expert / shards.expert;
  // Operation by operation (norm, clipping, decay, two moments, root, quotient, update) AdamW
  // passes 24 times over a float32 tensor.
  if (!software.fused_optimizer) return (dense + expert) * (24 * 4 * byte);
  // The gradient twice (its norm, then the update), state in and out, the weight out.
  const Bytes element = 2 * size_of(software.gradient_dtype) +
                        2 * optimizer_element(strategy.precision, software) +
                        size_of(stored_dtype(software, strategy.precision));
  return (dense + expert) * element;
}

}  // namespace narrows

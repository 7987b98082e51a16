// SPDX-License-Identifier: Apache-2.0
#include "cost/machine_times.h"

#include <algorithm>

#include "base/result.h"
#include "cost/kernel_time_floor.h"

namespace narrows {
namespace {

// Expected errors of prices, from repeating profiles on one machine (docs/profile.md).
constexpr double kMeasured = 0.03;
constexpr double kBetween = 0.05;
constexpr double kBeyond = 0.15;
constexpr double kOtherFamily = 0.25;
constexpr double kRates = 0.5;

// Curves are extended to this multiple of what was measured before they count as carried over.
constexpr double kReach = 2;

FlopRate rate_of(const Chip& chip, const char* format) {
  const auto found = chip.peak.find(format);
  return found == chip.peak.end() ? FlopRate() : found->second.value;
}

Scatter::Place place_of(const MatmulShape& s) {
  const double groups = std::max(s.groups, 1);
  const double m = std::max(s.m.expected / groups, 1.0);
  return {log2_of(m), log2_of(static_cast<double>(std::max<std::int64_t>(s.n, 1))),
          log2_of(static_cast<double>(std::max<std::int64_t>(s.k, 1))), log2_of(groups)};
}

Scatter::Place place_of(const AttentionShape& s) {
  return {log2_of(std::max(attended_keys(s), 1.0)), log2_of(std::max(s.qk_dim + s.v_dim, 1)),
          log2_of(std::max(s.batch * s.heads, 1.0)), 0};
}

// Sums hand their gradient on, and the loss leaves its own in forward: no pass at all. Operands are
// quantised in their matmuls.
bool is_nothing(OpKind kind, Direction direction) {
  const bool is_gradient = direction != Direction::Forward;
  return kind == OpKind::Quantise ||
         (is_gradient && (kind == OpKind::Elementwise || kind == OpKind::Loss));
}

// A format that no processor multiplies in is rounded in software: over f32's time, where it was
// not measured.
constexpr double kEmulated = 2;

}  // namespace

bool is_machine(const Chip& chip) { return chip.architecture == "cpu"; }

void TimeCurve::add(double amount, Seconds time) {
  auto& [sum, count] = points_[amount];
  sum += time / sec;
  ++count;
}

Estimate TimeCurve::at(double amount) const {
  const auto mean = [](const auto& point) { return point.second.first / point.second.second; };
  const auto above = points_.lower_bound(amount);
  if (above != points_.end() && above->first == amount)
    return {mean(*above) * sec, Basis::Measured, kMeasured};
  if (points_.size() == 1) {
    const auto& [only, value] = *points_.begin();
    return {amount / only * mean(*points_.begin()) * sec, Basis::Transferred, kBeyond};
  }
  const bool is_below = above == points_.begin(), is_beyond = above == points_.end();
  auto right = is_below ? std::next(above) : is_beyond ? std::prev(above) : above;
  const auto left = std::prev(right);
  const double slope = (mean(*right) - mean(*left)) / (right->first - left->first);
  const double line = mean(*left) + slope * (amount - left->first);
  if (!is_below && !is_beyond) return {line * sec, Basis::Interpolated, kBetween};
  // Two points that lie close together, or fall, say more of noise than of the line: less never
  // takes longer, nor is it quicker in proportion, and beyond the last point times grow in
  // proportion, nearly.
  const auto& end = is_below ? *left : *right;
  const double proportional = mean(end) * amount / end.first;
  const double time = is_below    ? std::clamp(line, proportional, mean(end))
                      : slope > 0 ? std::clamp(line, 0.8 * proportional, 1.25 * proportional)
                                  : proportional;
  const bool is_near =
      amount * kReach >= points_.begin()->first && amount <= kReach * points_.rbegin()->first;
  return {time * sec, is_near ? Basis::Interpolated : Basis::Transferred, kBeyond};
}

MachineTimes::MachineTimes(const KernelTables& tables, const Chip& chip)
    : wide_(rate_of(chip, "fp32")),
      narrow_(rate_of(chip, "bf16")),
      bandwidth_(chip.memory_bandwidth.value) {
  ASSERT(wide_ > FlopRate());
  ASSERT(bandwidth_ > Bandwidth());
  if (!(narrow_ > FlopRate())) narrow_ = wide_;
  for (const KernelFamily family :
       {KernelFamily::Matmul, KernelFamily::Attention, KernelFamily::Memory}) {
    for (const Measurement& row : tables.rows(family, chip.name)) add(row);
  }
}

void MachineTimes::add(const Measurement& row) {
  if (row.family == KernelFamily::Memory) {
    const bool narrow = row.recipe == Recipe::Bf16;
    makes_bf16_ = makes_bf16_ || narrow;
    moves_[{row.memory_class, row.direction, narrow}].add(row.traffic / byte, row.time);
  } else if (row.family == KernelFamily::Matmul) {
    const MatmulShape& s = row.matmul;
    Group& group = matmuls_[{row.recipe, row.direction}];
    group.families[{s.n, s.k, s.groups}].add(s.m.expected, row.time);
    group.efficiencies.add(place_of(s), matmul_floor(row.recipe, s) / row.time);
  } else {
    const AttentionShape& s = row.attention;
    const bool narrow = row.recipe != Recipe::F32;
    Group& group = attention_[{narrow, row.direction == Direction::Forward}];
    group.families[{s.heads, s.kv_heads, s.queries, s.keys, s.qk_dim, s.v_dim, s.causal, s.window}]
        .add(s.batch, row.time);
    group.efficiencies.add(place_of(s), attention_floor(narrow, row.direction, s) / row.time);
  }
}

Seconds MachineTimes::matmul_floor(Recipe recipe, const MatmulShape& shape) const {
  const double products =
      shape.m.expected * static_cast<double>(shape.n) * static_cast<double>(shape.k);
  return 2 * products * flop / (recipe == Recipe::F32 ? wide_ : narrow_);
}

Seconds MachineTimes::attention_floor(bool narrow, Direction direction,
                                      const AttentionShape& shape) const {
  const double pairs =
      shape.batch * shape.heads * static_cast<double>(shape.queries) * attended_keys(shape);
  return pairs * attention_pair_flops(direction, shape) * flop / (narrow ? narrow_ : wide_);
}

Estimate MachineTimes::matmul(Recipe recipe, Direction direction, const MatmulShape& shape) const {
  if (is_quantised(recipe) && matmuls_.find({recipe, Direction::Forward}) == matmuls_.end()) {
    const Estimate wide = matmul(Recipe::F32, direction, shape);
    return {kEmulated * wide.time, Basis::Roofline, kRates};
  }
  const Seconds floor = matmul_floor(recipe, shape);
  const auto group = matmuls_.find({recipe, direction});
  if (group == matmuls_.end()) {
    // Gradients go at the forward's pace.
    if (direction != Direction::Forward) {
      Estimate forward = matmul(recipe, Direction::Forward, shape);
      return {forward.time, std::max(forward.basis, Basis::Transferred), kOtherFamily};
    }
    return {floor / 0.7, Basis::Roofline, kRates};
  }
  const auto family = group->second.families.find({shape.n, shape.k, shape.groups});
  if (family != group->second.families.end()) return family->second.at(shape.m.expected);
  const double efficiency = group->second.efficiencies.at(place_of(shape)).value;
  const bool many = group->second.efficiencies.size() > 1;
  return {floor / efficiency, many ? Basis::Transferred : Basis::Roofline, kOtherFamily};
}

Estimate MachineTimes::attention(Recipe recipe, Direction direction,
                                 const AttentionShape& s) const {
  const bool narrow = recipe != Recipe::F32;
  const auto group = attention_.find({narrow, direction == Direction::Forward});
  if (group == attention_.end()) {
    // f32's time is an upper bound; else the small matmuls of a head run at a third of a large
    // one's rate.
    if (narrow && attention_.count({false, direction == Direction::Forward}) > 0) {
      const Estimate wide = attention(Recipe::F32, direction, s);
      return {wide.time, std::max(wide.basis, Basis::Transferred), kOtherFamily};
    }
    return {attention_floor(narrow, direction, s) / 0.35, Basis::Roofline, kRates};
  }
  const auto family = group->second.families.find(
      {s.heads, s.kv_heads, s.queries, s.keys, s.qk_dim, s.v_dim, s.causal, s.window});
  if (family != group->second.families.end()) return family->second.at(s.batch);
  const double efficiency = group->second.efficiencies.at(place_of(s)).value;
  return {attention_floor(narrow, direction, s) / efficiency, Basis::Transferred, kOtherFamily};
}

Estimate MachineTimes::packing(Recipe recipe, Direction direction, double elements) const {
  if (recipe == Recipe::Bf16 && makes_bf16_) return {Seconds(), Basis::Measured, 0};
  const Bytes traffic = 6 * elements * byte;
  const auto curve = moves_.find({"quantise", direction, false});
  if (elements > 0 && curve != moves_.end()) return curve->second.at(traffic / byte);
  return {traffic / bandwidth_, Basis::Roofline, kRates};
}

Estimate MachineTimes::memory_bound(Recipe recipe, OpKind kind, Direction direction,
                                    Bytes traffic) const {
  if (!(traffic > Bytes()) || is_nothing(kind, direction)) return {Seconds(), Basis::Measured, 0};
  const std::string name = to_string(kind);
  const bool narrow = recipe == Recipe::Bf16;
  const Move nearest[] = {{name, direction, narrow},
                          {name, direction, false},
                          {name, Direction::Forward, narrow},
                          {name, Direction::Forward, false}};
  for (const Move& move : nearest) {
    const auto curve = moves_.find(move);
    if (curve == moves_.end()) continue;
    Estimate estimate = curve->second.at(traffic / byte);
    if (std::get<Direction>(move) != direction)
      estimate.basis = std::max(estimate.basis, Basis::Transferred);
    return estimate;
  }
  // What is not a plain copy (functions, sums in order) takes about twice a copy's time.
  return {2 * traffic / bandwidth_, Basis::Roofline, kRates};
}

}  // namespace narrows

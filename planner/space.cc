// SPDX-License-Identifier: Apache-2.0
#include "planner/space.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace narrows {
namespace {

// What people run: pipelines as deep as the model allows, small micro-batches, context parallelism
// up to a few nodes.
constexpr int kMostTensor = 64;
constexpr int kMostContext = 32;
constexpr int kMostMicroBatch = 8;

std::vector<int> divisors(std::int64_t n, std::int64_t most) {
  std::vector<int> all;
  for (std::int64_t d = 1; d <= std::min(n, most); ++d) {
    if (n % d == 0) all.push_back(static_cast<int>(d));
  }
  return all;
}

template <typename T>
std::vector<T> pinned(const std::optional<T>& pin, std::vector<T> values) {
  return pin ? std::vector<T>{*pin} : std::move(values);
}

template <typename T>
std::vector<T> of_bits(const std::vector<T>& all, unsigned bits) {
  std::vector<T> chosen;
  for (const T value : all) {
    if (bits & (1u << static_cast<unsigned>(value))) chosen.push_back(value);
  }
  return chosen;
}

class Enumerator {
 public:
  explicit Enumerator(const Space& space)
      : space_(space), limits_(space.limits), pins_(space.pins) {}

  std::vector<StrategyFamily> run() {
    // Narrow formats first: a search that is cut short has then seen the fast ones.
    auto recipes =
        pinned(pins_.precision, of_bits(all_recipes(), limits_.recipes & limits_.chip_recipes));
    std::reverse(recipes.begin(), recipes.end());
    const auto recomputes = pinned(pins_.recompute, of_bits(all_recomputes(), limits_.recomputes));
    for (const Recipe recipe : recipes) {
      for (const Recompute recompute : recomputes) {
        Strategy s;
        s.precision = recipe;
        s.recompute = recompute;
        if (broken_precision_rule(s, limits_)) continue;
        for (const int mb :
             pinned(pins_.micro_batch, divisors(limits_.global_batch, kMostMicroBatch))) {
          s.micro_batch = mb;
          tensor(s);
        }
      }
    }
    return std::move(families_);
  }

 private:
  void tensor(Strategy s) {
    const int most_cp = limits_.context_exchanges != 0 ? kMostContext : 1;
    const int most_tp = std::min(kMostTensor, std::max(space_.domain, 1));
    for (const int tp : pinned(pins_.tp, divisors(limits_.gpus, most_tp))) {
      for (const int cp : pinned(pins_.cp, divisors(limits_.gpus, most_cp))) {
        for (const bool sp : pinned(pins_.sequence_parallel, sequence_parallel(tp))) {
          s.tp = tp;
          s.cp = cp;
          s.sequence_parallel = sp;
          if (broken_tensor_rule(s, limits_)) continue;
          expert(s);
        }
      }
    }
  }
  // Where the stack has it, sequence parallelism only saves: memory, and norms done once.
  std::vector<bool> sequence_parallel(int tp) const {
    return {tp > 1 && limits_.sequence_parallel};
  }

  void expert(Strategy s) {
    const bool moe = limits_.experts > 0;
    const int most_etp = moe && limits_.expert_tensor_parallel ? s.tp : 1;
    for (const int ep :
         pinned(pins_.ep, moe ? divisors(limits_.experts, limits_.gpus) : std::vector<int>{1})) {
      for (const int etp : pinned(pins_.etp, etps(most_etp))) {
        s.ep = ep;
        s.etp = etp;
        if (broken_expert_rule(s, limits_)) continue;
        for (const AxisOrder order :
             pinned(pins_.order, {AxisOrder::TpCpDpPp, AxisOrder::TpCpPpDp})) {
          s.order = order;
          family(s);
        }
      }
    }
  }
  // Without sequence parallelism experts must be split as the rest is.
  std::vector<int> etps(int most) const { return divisors(most, most); }

  void family(const Strategy& base) {
    StrategyFamily family{base, {}};
    for (const int pp : pinned(pins_.pp, divisors(limits_.gpus, limits_.items))) {
      Strategy s = base;
      s.pp = pp;
      // The order of axes means nothing with one pipeline rank.
      if (pp == 1 && s.order != AxisOrder::TpCpDpPp && !pins_.order) continue;
      const std::int64_t used = std::int64_t{s.tp} * s.cp * pp;
      if (limits_.gpus % used != 0) continue;
      s.dp = static_cast<int>(limits_.gpus / used);
      const std::int64_t rows = std::int64_t{s.dp} * s.micro_batch;
      if (limits_.global_batch % rows != 0) continue;
      s.micro_batches = limits_.global_batch / rows;
      if (pins_.dp && *pins_.dp != s.dp) continue;
      if (pins_.micro_batches && *pins_.micro_batches != s.micro_batches) continue;
      if (broken_product_rule(s, limits_)) continue;
      schedules(s, family);
    }
    if (!family.strategies.empty()) families_.push_back(std::move(family));
  }

  void schedules(Strategy s, StrategyFamily& family) {
    for (const ScheduleKind kind :
         pinned(pins_.schedule, of_bits(all_schedules(), limits_.schedules))) {
      s.schedule = kind;
      const int most = kind == ScheduleKind::Interleaved ? limits_.most_chunks_per_rank : 1;
      for (int vpp = kind == ScheduleKind::Interleaved ? 2 : 1; vpp <= most; ++vpp) {
        s.vpp = vpp;
        if (pins_.vpp && *pins_.vpp != vpp) continue;
        if (broken_schedule_rule(s, limits_)) continue;
        zeros(s, family);
      }
    }
  }

  void zeros(Strategy s, StrategyFamily& family) {
    for (int zero = 0; zero <= 3; ++zero) {
      if (pins_.zero && *pins_.zero != zero) continue;
      s.zero = zero;
      for (const int shard : pinned(pins_.dp_shard, shards(s))) {
        s.dp_shard = shard;
        if (broken_rule(s, limits_)) continue;
        family.strategies.push_back(s);
      }
    }
  }
  // All replicas; under FSDP also only those of one node (hybrid sharding).
  std::vector<int> shards(const Strategy& s) const {
    const int all = s.dp * s.cp;
    if (s.zero == 0) return {1};
    std::vector<int> choices{all};
    const int inside = space_.gpus_per_node / s.tp;
    if (s.zero == 3 && inside > 1 && inside < all && all % inside == 0) choices.push_back(inside);
    return choices;
  }

  const Space& space_;
  const Limits& limits_;
  const Pins& pins_;
  std::vector<StrategyFamily> families_;
};

// A strategy that obeys the pins and is otherwise as plain as possible, completed so that products
// hold where they can.
Strategy plainest(const Space& space) {
  const Pins& p = space.pins;
  const Limits& l = space.limits;
  Strategy s;
  s.tp = p.tp.value_or(1);
  s.cp = p.cp.value_or(1);
  s.pp = p.pp.value_or(1);
  s.ep = p.ep.value_or(1);
  s.etp = p.etp.value_or(1);
  s.micro_batch = p.micro_batch.value_or(1);
  const std::int64_t used = std::int64_t{s.tp} * s.cp * s.pp;
  s.dp = p.dp.value_or(
      static_cast<int>(std::max<std::int64_t>(1, l.gpus / std::max<std::int64_t>(1, used))));
  const std::int64_t rows = std::int64_t{s.dp} * s.micro_batch;
  s.micro_batches = p.micro_batches.value_or(
      std::max<std::int64_t>(1, l.global_batch / std::max<std::int64_t>(1, rows)));
  s.sequence_parallel = p.sequence_parallel.value_or(s.tp > 1 && l.sequence_parallel);
  s.order = p.order.value_or(AxisOrder::TpCpDpPp);
  const auto schedules = of_bits(all_schedules(), l.schedules);
  s.schedule = p.schedule.value_or(s.pp == 1 || schedules.empty() ? ScheduleKind::OneFOneB
                                                                  : schedules.front());
  s.vpp = p.vpp.value_or(s.schedule == ScheduleKind::Interleaved ? 2 : 1);
  s.zero = p.zero.value_or((l.zero_stages & 1u) != 0 ? 0 : 1);
  s.dp_shard = p.dp_shard.value_or(s.zero > 0 ? s.dp * s.cp : 1);
  const auto recipes = of_bits(all_recipes(), l.recipes & l.chip_recipes);
  s.precision = p.precision.value_or(recipes.empty() ? Recipe::Bf16 : recipes.front());
  s.recompute = p.recompute.value_or(Recompute::None);
  return s;
}

}  // namespace

std::vector<StrategyFamily> enumerate(const Space& space) { return Enumerator(space).run(); }

std::int64_t count(const std::vector<StrategyFamily>& families) {
  std::int64_t n = 0;
  for (const StrategyFamily& family : families)
    n += static_cast<std::int64_t>(family.strategies.size());
  return n;
}

Error explain_empty(const Space& space) {
  const Strategy s = plainest(space);
  if (const auto rule = broken_rule(s, space.limits)) {
    return {ErrorCode::InvalidInput, explain(*rule, s, space.limits)};
  }
  return {ErrorCode::InvalidInput, fmt::format("no layout of {} GPUs satisfies the pins {}",
                                               space.limits.gpus, to_string(space.pins))};
}

}  // namespace narrows

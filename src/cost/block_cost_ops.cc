// The ops of a block's passes, each priced: kernels, what the host takes to launch them, and
// collectives.
// SPDX-License-Identifier: Apache-2.0
#include "cost/block_cost.h"
#include "cost/collective_time.h"
#include "cost/reach.h"

namespace narrows {
namespace {

bool multiplies(const Op& op) { return op.kind == OpKind::Matmul || op.kind == OpKind::Attention; }

const Span& span_on(const BlockLayout& layout, Axis axis) {
  switch (axis) {
    case Axis::Cp:
      return layout.cp;
    case Axis::Ep:
      return layout.ep;
    case Axis::Etp:
      return layout.etp;
    default:
      return layout.tp;
  }
}

}  // namespace

// What each further expert of a matmul costs. A graph of whole passes replays its kernels: a
// matmul, the quantisation of its operand and the layout of two operands' scales.
Seconds BlockPricer::each_expert() const {
  constexpr double kKernels = 4;
  if (software_.graphs != GraphScope::Pass) return software_.expert_launch;
  return min(software_.expert_launch, kKernels * software_.launch);
}

Estimate BlockPricer::price_op(const Op& op, Recipe recipe) const {
  Estimate estimate;
  if (op.kind == OpKind::Matmul) {
    estimate = kernels_.matmul(op.precision, op.direction, op.matmul);
    estimate.time *= software_.matmul_slowdown;
    estimate.time += (op.matmul.groups - 1) * each_expert();
  } else if (op.kind == OpKind::Attention && op.materialised) {
    estimate = kernels_.materialised_attention(op.precision, op.direction, op.attention);
    estimate.time *= software_.matmul_slowdown;
  } else if (op.kind == OpKind::Attention) {
    estimate = kernels_.attention(op.precision, op.direction, op.attention);
    estimate.time *= software_.attention_slowdown;
    if (is_quantised(recipe)) estimate.time /= software_.narrow_attention;
  } else {
    estimate = kernels_.memory_bound(op.kind, op.traffic, op.direction, recipe);
    estimate.time *= software_.stream_slowdown;
  }
  // A stack's own kernels were measured beside communication; alone they take less.
  if (!software_.kernel_generation.empty()) estimate.time /= software_.compute_slowdown;
  estimate.time = max(estimate.time, software_.launch);
  return estimate;
}

// Graphs of a router's scope end where tokens leave, and begin again where their gradients are
// back.
Seconds BlockPricer::host_time(const std::vector<Op>& ops, BlockKind kind) const {
  const GraphScope graphs = software_.graphs;
  if (graphs == GraphScope::Pass) return {};
  if (graphs == GraphScope::Attention && kind == BlockKind::Attention) return {};
  int count = 0;
  int before = 0, after = 0;  // ops before the first exchange, and after the last one
  for (const Op& op : ops) {
    if (software_.fused_experts && op.inside_experts) continue;
    ++count, ++after;
    const bool travels = op.kind == OpKind::Collective && op.collective.axis == Axis::Ep;
    if (travels && before == 0) before = count;
    if (travels) after = 0;
  }
  if (graphs != GraphScope::None && kind == BlockKind::Moe && before > 0) {
    const bool forward = ops.front().direction == Direction::Forward;
    count -= forward ? before : after;
  }
  return count * software_.host_op;
}

// The head multiplies in 16 bits and takes its input so. A row's scale in one direction is of no
// use in the other, so that rows are gathered wide (torchtitan: "for rowwise recipes … all-gather
// happens in high precision").
bool BlockPricer::gathers_quantised(const CollectiveShape& what, const Key& key) const {
  return software_.quantised_gather && is_quantised(key.layout.recipe) &&
         key.layout.recipe != Recipe::Fp8Row && key.kind != BlockKind::Head &&
         what.axis == Axis::Tp && what.what == CollectiveKind::AllGather;
}

// A stack that sends tokens once to a rank lays their rows out for each destination, or sums what
// comes back; its dispatch first tells the other ranks how many come, for which experts and with
// which weights, and its gradient brings back the weights' gradients.
Seconds BlockPricer::around_exchange(const Op& op, const Reach& reached,
                                     const BlockLayout& layout) const {
  if (software_.dispatcher != Dispatcher::PerRank) return {};
  const CollectiveShape& what = op.collective;
  const double sent = what.tokens * reached.gpus;
  const Seconds rows =
      kernels_.memory_bound(OpKind::Permute, (what.tokens + sent) * what.bytes).time;
  if (what.what != CollectiveKind::Dispatch && op.direction == Direction::Forward) return rows;
  if (what.what == CollectiveKind::Dispatch && op.direction != Direction::Forward) return rows;
  const auto exchanged = [&](Bytes bytes) {
    return collective_time({CollectiveKind::AllToAll, Axis::Ep, bytes, 0}, layout.ep, cluster_)
        .time;
  };
  const Seconds slips = exchanged(sent * model_.moe->top_k * 4 * byte);
  if (op.direction != Direction::Forward) return rows + slips;
  return rows + 2 * slips + exchanged(4.0 * layout.sharding.ep * byte);
}

Seconds BlockPricer::exchange_price(const Op& op, const BlockLayout& layout) const {
  const Reach& reached = reach(layout.sharding.ep, domain_members(layout.ep, cluster_));
  return exchange_time(op.collective, router_of(*model_.moe), reached, layout.ep, cluster_,
                       software_.dispatcher)
             .time +
         around_exchange(op, reached, layout);
}

std::vector<OpPrice> BlockPricer::op_prices(BlockKind kind, bool window,
                                            const BlockLayout& layout) {
  Key key{kind, window, layout};
  if (kind == BlockKind::Attention)
    key.layout.sharding.context = context_exchange(layout).value_or(ContextExchange::AllGather);
  const Graph graph = graph_of(key);
  std::vector<OpPrice> prices;
  for (const auto* ops :
       {&graph.forward, &graph.recompute, &graph.input_grad, &graph.weight_grad}) {
    for (const Op& op : *ops) {
      OpPrice price{op.name, op.kind, op.direction, op.recomputed, {}};
      if (op.kind != OpKind::Collective) {
        price.estimate = price_op(op, layout.recipe);
      } else if (op.collective.axis != Axis::Ep) {
        price.estimate =
            collective_time(op.collective, span_on(layout, op.collective.axis), cluster_);
      } else if (layout.sharding.ep > 1) {
        price.estimate.time = exchange_price(op, layout);
      }
      prices.push_back(std::move(price));
    }
  }
  return prices;
}

PassCost BlockPricer::price_ops(const std::vector<Op>& ops, const Key& key,
                                ExchangeCost& exchange) const {
  const BlockLayout& layout = key.layout;
  PassCost pass;
  Seconds ring, attention;
  pass.host = host_time(ops, key.kind);
  for (const Op& op : ops) {
    if (software_.fused_experts && op.inside_experts && is_quantised(layout.recipe)) continue;
    if (op.kind != OpKind::Collective) {
      const Estimate estimate = price_op(op, layout.recipe);
      (multiplies(op) ? pass.multiply : pass.stream) += estimate.time;
      if (op.kind == OpKind::Attention) attention += estimate.time;
      pass.by_basis[static_cast<std::size_t>(estimate.basis)] += estimate.time;
      pass.uncertain += estimate.error * estimate.time;
      if (op.beside_exchange) pass.beside += estimate.time;
      continue;
    }
    const Axis axis = op.collective.axis;
    if (axis == Axis::Ep) {
      if (layout.sharding.ep == 1) continue;
      const Seconds time = exchange_price(op, layout);
      const bool dispatches = op.collective.what == CollectiveKind::Dispatch;
      const bool waits = dispatches && op.direction == Direction::Forward &&
                         software_.dispatcher == Dispatcher::AllToAll;
      if (waits) pass.exposed += software_.dispatch_sync;
      if (op.direction == Direction::Forward) {
        (dispatches ? exchange.dispatch : exchange.combine) += time;
      } else {
        (dispatches ? exchange.combine_gradient : exchange.dispatch_gradient) += time;
      }
      continue;
    }
    CollectiveShape what = op.collective;
    if (gathers_quantised(what, key)) {
      what.bytes *=
          size_of(operand_dtype(layout.recipe)) / size_of(activation_dtype(layout.recipe));
    }
    const Seconds time = collective_time(what, span_on(layout, axis), cluster_).time;
    if (axis == Axis::Cp && op.collective.what == CollectiveKind::SendRecv) {
      ring += (layout.sharding.cp - 1) * time;
      continue;
    }
    const bool whole =
        what.what == CollectiveKind::AllGather || what.what == CollectiveKind::ReduceScatter;
    if (software_.batch_first && axis == Axis::Tp && whole) {
      const Estimate copy = kernels_.memory_bound(OpKind::Elementwise, 2 * what.bytes);
      pass.stream += copy.time;
      pass.by_basis[static_cast<std::size_t>(copy.basis)] += copy.time;
      pass.uncertain += copy.error * copy.time;
    }
    // What is gathered again for W travels beside I (korthikanti2022 §4.2.2).
    const bool beside = op.direction == Direction::WeightGrad;
    const double share = beside ? 1 : (axis == Axis::Cp ? 0 : software_.overlap_tp);
    pass.hidden += share * time;
    pass.exposed += (1 - share) * time;
  }
  // Each step of a ring sends the next keys and values while it attends to these; the last sends
  // nothing.
  const double cp = layout.sharding.cp;
  const Seconds beside = ring * software_.comm_slowdown;
  const Seconds hidden = min(beside, attention * ((cp - 1) / cp));
  pass.hidden += hidden;
  pass.exposed += beside - hidden;
  return pass;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cost/block_cost.h"

#include <algorithm>

#include "cost/collective_time.h"
#include "cost/load.h"
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

Seconds duration(const BlockCost& cost) {
  Seconds all;
  for (const PassCost* pass :
       {&cost.forward, &cost.recompute, &cost.input_grad, &cost.weight_grad}) {
    all += pass->compute() + pass->exposed;
  }
  return all;
}

}  // namespace

PassCost& PassCost::operator+=(const PassCost& other) {
  multiply += other.multiply;
  stream += other.stream;
  exposed += other.exposed;
  hidden += other.hidden;
  host += other.host;
  beside += other.beside;
  for (int b = 0; b < kBases; ++b)
    by_basis[static_cast<std::size_t>(b)] += other.by_basis[static_cast<std::size_t>(b)];
  uncertain += other.uncertain;
  return *this;
}

Fusions fusions_of(const SoftwareProfile& s) {
  return {s.fused_norm_residual,
          s.fused_activation,
          s.fused_rope,
          s.fused_attention,
          s.fused_permute,
          s.fused_loss,
          s.fused_grad_accumulation,
          s.quantised_activations,
          s.quantised_dispatch,
          s.fused_norm,
          s.fused_projections,
          s.selective_by_op,
          s.recompute_stops_early,
          s.loss_metrics,
          s.parallel_loss,
          s.keeps_gathered,
          s.gradient_dtype,
          s.stepwise_context,
          s.wide_storage,
          s.kept_score_bytes};
}

GroupCounts routed_groups(const ModelSpec& model) {
  return model.moe ? sample_groups(router_of(*model.moe)) : GroupCounts{};
}

BlockPricer::BlockPricer(const ModelSpec& model, const Cluster& cluster,
                         const SoftwareProfile& software, Routing routing,
                         const KernelTimes& kernels, const GroupCounts& counts)
    : model_(model),
      cluster_(cluster),
      software_(software),
      routing_(routing),
      kernels_(kernels),
      counts_(counts) {}

double load_slowdown(const Chip& chip) {
  const Result<FlopRate> peak = peak_rate(chip, "bf16");
  if (!peak || !chip.sustained_rate) return 1;
  return std::max(1.0, *peak / chip.sustained_rate->value);
}

double slowest_of(const Chip& chip, int chips) {
  if (!chip.spread || chips < 2) return 1;
  return 1 + chip.spread->value * expected_maximum_of_normals(chips);
}

double load_slowdown(double full, double duty) {
  // Power of what does not multiply (memory-bound kernels, waiting for links), over the limit.
  constexpr double kRest = 0.6;
  const double power = full * full * full;  // of multiplying at the rated clock, over the limit
  const double left = 1 - (1 - duty) * kRest;
  if (duty <= 0 || duty * power <= left) return 1;
  // The cube root of their ratio, by Newton's method from above.
  const double cube = duty * power / left;
  double root = full;
  for (int i = 0; i < 8; ++i) root -= (root - cube / (root * root)) / 3;
  return std::min(root, full);
}

const Reach& BlockPricer::reach(int ep, int node) const {
  const auto key = std::pair(ep, node);
  const auto found = reaches_.find(key);
  if (found != reaches_.end()) return found->second;
  return reaches_.emplace(key, expected_reach(router_of(*model_.moe), ep, node, counts_))
      .first->second;
}

double BlockPricer::fullest_over_mean(int ep, double tokens) const {
  const auto key = std::pair(ep, tokens);
  const auto found = fullest_.find(key);
  if (found != fullest_.end()) return found->second;
  const double spread = routing_ == Routing::Natural ? software_.expert_spread : 0;
  const double fullest =
      expected_max_over_mean(router_of(*model_.moe), ep, tokens, counts_, spread);
  return fullest_.emplace(key, fullest).first->second;
}

RoutedLoad BlockPricer::routed_load(const BlockLayout& layout) const {
  const int ep = layout.sharding.ep;
  // DeepEP and PerRank send a token once to a rank; the others a copy to each expert, or all to
  // all.
  double arriving = model_.moe->top_k;
  const bool once =
      software_.dispatcher == Dispatcher::DeepEp || software_.dispatcher == Dispatcher::PerRank;
  if (once) arriving = reach(ep, cluster_.gpus_per_node).gpus;
  if (software_.dispatcher == Dispatcher::AllGather) arriving = ep;
  const double fullest = fullest_over_mean(ep, tokens_outside(layout.sharding));
  // All ranks of the group wait for the fullest one: its rows are what a layer takes. Memory is
  // kept ready for the same.
  RoutedLoad load;
  load.received = {arriving * fullest, arriving * fullest};
  load.copies = {model_.moe->top_k * fullest, model_.moe->top_k * fullest};
  return load;
}

const BlockCost& BlockPricer::price(BlockKind kind, bool window, const BlockLayout& layout) {
  const Key key{kind, window, layout};
  const auto found = known_.find(key);
  if (found != known_.end()) return found->second;
  Key chosen = key;
  if (kind == BlockKind::Attention) {
    chosen.layout.sharding.context = context_exchange(layout).value_or(ContextExchange::AllGather);
  }
  return known_.emplace(key, compute(chosen)).first->second;
}

std::optional<ContextExchange> BlockPricer::context_exchange(const BlockLayout& layout) {
  const Sharding& s = layout.sharding;
  if (s.cp == 1) return std::nullopt;
  const auto found = exchanges_.find(layout);
  if (found != exchanges_.end()) return found->second;
  std::optional<ContextExchange> best;
  Seconds least;
  Key key{BlockKind::Attention, false, layout};
  for (const ContextExchange exchange : software_.context_parallel) {
    if (!spreads(exchange, model_.attention, s.tp, s.cp)) continue;
    key.layout.sharding.context = exchange;
    const Seconds time = duration(compute(key));
    if (!best || time < least) {
      best = exchange;
      least = time;
    }
  }
  // Rules CpUnsupported and CpHeads keep layouts away for which there is none.
  return exchanges_.emplace(layout, best).first->second;
}

Graph BlockPricer::graph_of(const Key& key) const {
  const Fusions fusions = fusions_of(software_);
  const RoutedLoad load = key.kind == BlockKind::Moe ? routed_load(key.layout) : RoutedLoad{};
  Graph graph = build_block({key.kind, key.layout.sharding, key.layout.recipe, fusions, key.window},
                            model_, load);
  // Full recomputation is of layers: no stack multiplies by the vocabulary twice.
  const bool head = key.kind == BlockKind::Head && key.layout.recompute == Recompute::Full;
  differentiate(graph, head ? Recompute::None : key.layout.recompute, fusions);
  return graph;
}

// Where kernels work in f32 under a narrower recipe, what waits for a gradient waits in bf16.
void BlockPricer::add_packing(const Graph& graph, Recipe recipe, BlockCost& cost) const {
  if (!software_.wide_storage || recipe == Recipe::F32) return;
  double kept = 0, read = 0;
  std::vector<TensorId> ids = graph.kept_for_input;
  ids.insert(ids.end(), graph.kept_for_weight.begin(), graph.kept_for_weight.end());
  for (const TensorId id : ids) {
    const Tensor& tensor = graph.tensors[static_cast<std::size_t>(id)];
    const double elements = tensor.rows.expected * tensor.columns;
    kept += elements;
    const bool is_read =
        std::any_of(graph.forward.begin(), graph.forward.end(), [id](const Op& op) {
          return std::count(op.input_grad_needs.begin(), op.input_grad_needs.end(), id) > 0;
        });
    if (is_read) read += elements;
  }
  const auto add = [](PassCost& pass, const Estimate& estimate) {
    pass.stream += estimate.time;
    pass.by_basis[static_cast<std::size_t>(estimate.basis)] += estimate.time;
    pass.uncertain += estimate.error * estimate.time;
  };
  if (kept > 0) add(cost.forward, kernels_.packing(Direction::Forward, kept));
  if (read > 0) add(cost.input_grad, kernels_.packing(Direction::InputGrad, read));
}

BlockCost BlockPricer::compute(const Key& key) const {
  const Graph graph = graph_of(key);
  BlockCost cost;
  ExchangeCost again;
  cost.forward = price_ops(graph.forward, key, cost.exchange);
  cost.recompute = price_ops(graph.recompute, key, again);
  cost.recomputed_exchange = again.forward();
  cost.input_grad = price_ops(graph.input_grad, key, cost.exchange);
  cost.weight_grad = price_ops(graph.weight_grad, key, cost.exchange);
  add_packing(graph, key.layout.recipe, cost);
  cost.kept = kept_bytes(graph);
  cost.transient = transient_bytes(graph);
  return cost;
}

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
    estimate = kernels_.memory_bound(op.kind, op.traffic, op.direction);
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

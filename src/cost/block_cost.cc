// SPDX-License-Identifier: Apache-2.0
#include "cost/block_cost.h"

#include "cost/load.h"
#include "cost/reach.h"

namespace narrows {
namespace {

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
          s.v3_modules,
          s.recompute_stops_early,
          s.keeps_projections,
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
  if (kept > 0) add(cost.forward, kernels_.packing(recipe, Direction::Forward, kept));
  if (read > 0) add(cost.input_grad, kernels_.packing(recipe, Direction::InputGrad, read));
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

}  // namespace narrows

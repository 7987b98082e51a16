// The price of a block in each of its passes: the ops of its graph, each by measurement,
// interpolation or roofline, and its collectives by the link model. What runs beside what is
// decided one level up (item_cost.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <optional>

#include "cost/estimate.h"
#include "cost/exchange.h"
#include "cost/kernel_time.h"
#include "cost/layout.h"
#include "model/block.h"
#include "plan/training.h"
#include "software/profile.h"

namespace narrows {

// One pass of a block on one rank. Exchanges (expert dispatch and combine) stand apart in
// BlockCost.
struct PassCost {
  Seconds multiply;  // matmuls and attention: bound by multiprocessors
  Seconds stream;    // the rest: bound by memory bandwidth
  Seconds exposed;   // collectives that nothing hides
  Seconds hidden;    // … and the part that the stack hides under compute
  Seconds host;      // the host's time for what no graph launches
  Seconds beside;    // of multiply and stream: what could run while tokens travel (shared experts)
  std::array<Seconds, kBases> by_basis{};  // of multiply and stream
  Seconds uncertain;  // sum of time x expected relative error: errors of a family go together
  Seconds compute() const { return multiply + stream; }
  PassCost& operator+=(const PassCost& other);
};

// Expert traffic of a MoE block, alone on its links. The gradient of combine is a dispatch and the
// other way round.
struct ExchangeCost {
  Seconds dispatch, combine;  // forward
  Seconds dispatch_gradient;  // physically a combine of dX
  Seconds combine_gradient;   // physically a dispatch of dY
  Seconds forward() const { return dispatch + combine; }
  Seconds backward() const { return dispatch_gradient + combine_gradient; }
};

struct BlockCost {
  PassCost forward, recompute, input_grad, weight_grad;
  ExchangeCost exchange;
  Seconds recomputed_exchange;  // full recomputation sends the tokens again
  KeptBytes kept;
  TransientBytes transient;
};

// One op of a block as it is priced.
struct OpPrice {
  std::string name;  // as in the op graph
  OpKind kind = OpKind::Elementwise;
  Direction direction = Direction::Forward;
  bool recomputed = false;
  Estimate estimate;
};

// How the model's router spreads over its groups: sampled once, given to every pricer. Empty for a
// dense model.
GroupCounts routed_groups(const ModelSpec& model);

// Prices blocks of one model on one cluster under one stack, and remembers. Borrows all it is
// given. Not thread-safe.
class BlockPricer {
 public:
  BlockPricer(const ModelSpec& model, const Cluster& cluster, const SoftwareProfile& software,
              Routing routing, const KernelTimes& kernels, const GroupCounts& counts);

  const BlockCost& price(BlockKind kind, bool window, const BlockLayout& layout);
  // Every op of its passes, in order; what is exchanged over one rank takes no time.
  std::vector<OpPrice> op_prices(BlockKind kind, bool window, const BlockLayout& layout);
  // How attention is exchanged under context parallelism: of the stack's ways the quickest for this
  // layout, the same for all layers; nothing without.
  std::optional<ContextExchange> context_exchange(const BlockLayout& layout);
  // What routing brings to the fullest rank and to the mean one, per token sent.
  RoutedLoad routed_load(const BlockLayout& layout) const;

  const ModelSpec& model() const { return model_; }
  const Cluster& cluster() const { return cluster_; }
  const SoftwareProfile& software() const { return software_; }
  const KernelTimes& kernels() const { return kernels_; }

 private:
  struct Key {
    BlockKind kind;
    bool window;
    BlockLayout layout;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  // What routing costs to compute, remembered: reach by (ranks, ranks a node), load by (ranks,
  // tokens).
  const Reach& reach(int ep, int node) const;
  double fullest_over_mean(int ep, double tokens) const;
  Graph graph_of(const Key& key) const;
  BlockCost compute(const Key& key) const;
  void add_packing(const Graph& graph, Recipe recipe, BlockCost& cost) const;
  Seconds exchange_price(const Op& op, const BlockLayout& layout) const;
  PassCost price_ops(const std::vector<Op>& ops, const Key& key, ExchangeCost& exchange) const;
  Estimate price_op(const Op& op, Recipe recipe) const;
  Seconds each_expert() const;
  bool gathers_quantised(const CollectiveShape& what, const Key& key) const;
  Seconds around_exchange(const Op& op, const Reach& reached, const BlockLayout& layout) const;
  Seconds host_time(const std::vector<Op>& ops, BlockKind kind) const;

  const ModelSpec& model_;
  const Cluster& cluster_;
  const SoftwareProfile& software_;
  Routing routing_;
  const KernelTimes& kernels_;
  const GroupCounts& counts_;
  mutable std::map<std::pair<int, int>, Reach> reaches_;
  mutable std::map<std::pair<int, double>, double> fullest_;
  std::map<Key, BlockCost> known_;
  std::map<BlockLayout, std::optional<ContextExchange>> exchanges_;
};

// The flags of a stack that change the graph.
Fusions fusions_of(const SoftwareProfile& software);

}  // namespace narrows

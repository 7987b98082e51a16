// All that one strategy costs, item by item and once a step: what the schedule player needs, and
// what a bound on the step may use. The partition of items over stages is still open here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "cost/item_cost.h"
#include "cost/state_bytes.h"

namespace narrows {

// The durations of one item under one strategy (level A), FSDP gathers and blocking sends included.
struct ItemTicks {
  Tick forward, input_grad, weight_grad;
  // Of each: communication that nothing hides.
  Tick forward_exposed, input_grad_exposed, weight_grad_exposed;
  Tick work() const { return forward + input_grad + weight_grad; }
};

// After the last backward of a rank.
struct TailCost {
  Seconds reduce;  // gradients, exposed part
  Seconds optimizer;
  Seconds gather;  // updated parameters, exposed part
  Seconds all() const { return reduce + optimizer + gather; }
};

// The items of a model under one block layout: shared by all strategies that differ in pipeline,
// schedule or ZeRO only.
struct LayoutCost {
  BlockLayout layout;
  std::vector<ItemClass> classes;
  std::vector<const ItemCost*> costs;  // borrowed from the pricer
  std::vector<ItemTicks> items;        // without FSDP
  // Items that cost the same share an index; by two of them, an overlapped pair of one item each.
  struct PairTicks {
    Tick time, exposed;
  };
  std::vector<int> index;
  std::vector<std::vector<PairTicks>> pairs;  // forward's index -> backward's index
  CommChoice comm;                            // what the layout's communication is priced by
};
LayoutCost layout_cost(const BlockLayout& layout, ItemPricer& pricer);

// What is whole for a while although ZeRO shards it: gathered weights, gradients before they are
// scattered.
struct ShardBuffers {
  Bytes weights;
  Bytes gradients;
};

class StepCost {
 public:
  // The strategy must be valid and have this layout. Borrows the layout's costs and the pricer.
  StepCost(const Strategy& strategy, const LayoutCost& layout, ItemPricer& pricer);

  const std::vector<ItemClass>& classes() const { return shared_.classes; }
  const std::vector<ItemTicks>& items() const { return items_; }
  const ItemCost& item(int index) const { return *shared_.costs[static_cast<std::size_t>(index)]; }
  const BlockLayout& layout() const { return shared_.layout; }
  const CommChoice& comm() const { return shared_.comm; }
  // Whether the item's activations wait outside the GPU for their backward.
  bool offloaded(int index) const;
  // Of what a stage that starts with the item keeps: its input, where the stack lets go of that.
  Bytes freed_input(int first) const;
  const Grid& grid() const { return grid_; }
  const Strategy& strategy() const { return strategy_; }

  // An overlapped pair of two runs of items: the forward of [first, last], the backward of another
  // run in reverse.
  struct Run {
    int first = 0;
    int last = -1;  // included; empty if last < first
  };
  Tick pair(Run ahead, Run back) const;
  Tick pair_exposed(Run ahead, Run back) const;
  // Latency of an activation (or its gradient) between neighbouring stages.
  Tick send() const { return send_; }
  // How many times as fast a rank works when no other does: more than 1 where ranks outnumber the
  // processors that they share.
  double speed_alone() const;
  // Of a chunk's time, by how much its expert group's last rank is later; 0 without such groups.
  double expert_skew() const;

  // At their largest while a run of items is worked on.
  ShardBuffers shard_buffers(Run run) const;
  // What tables and shards are counted from.
  const HeldTable& held() const { return held_; }
  // For a rank that holds these parameters; `window` is the backward time that the reduction can
  // hide under.
  TailCost tail(const HeldParameters& held, Seconds window) const;

 private:
  void add_shard_traffic(int index);
  Bytes unsharded_gradient(const SoftwareProfile& software) const;
  const LayoutCost::PairTicks& pair_of(int ahead, int back) const;
  // What FSDP adds to a pair of two items.
  Tick fsdp(int ahead, int back) const;
  // The host's time for the pieces that a sharded stack lists, once a reduction or a gather.
  Seconds piece_time() const;
  // Hybrid sharding: each shard of the gradients, once a step, over the replicas of its group.
  Seconds reduce_shards(const HeldParameters& held) const;

  Strategy strategy_;
  Grid grid_;
  HeldTable held_;
  const LayoutCost& shared_;
  ItemPricer& pricer_;
  std::vector<ItemTicks> items_;
  Tick send_;
};

// What crosses from a pipeline stage to the next, of one micro-batch and rank: the mean of
// activations, which travel in the recipe's format, and of gradients, as the stack stores them.
Bytes stage_message(const BlockLayout& layout, const BlockPricer& blocks);

// The latency of one activation between neighbouring pipeline ranks; 0 with one of them.
Tick send_time(const Strategy& strategy, const BlockLayout& layout, const Grid& grid,
               const BlockPricer& blocks);

// The key under which the strategy's blocks are priced.
BlockLayout block_layout(const Strategy& strategy, std::int64_t sequence, const Grid& grid,
                         const Cluster& cluster);

}  // namespace narrows

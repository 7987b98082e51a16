// Level A of the simulation: how long one instruction takes for one item of the model (the
// embedding, a layer, an MTP block, the head) on its rank, with its communication beside it.
// Durations of a chunk are sums over its items; an overlapped pair is priced item by item from a
// two-stream schedule of compute and expert traffic.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <utility>

#include "cost/block_cost.h"
#include "cost/pace.h"

namespace narrows {

// Items that cost the same: their kind, and whether attention is windowed.
struct ItemClass {
  ItemKind kind = ItemKind::DenseLayer;
  bool window = false;
  friend auto operator<=>(const ItemClass&, const ItemClass&) = default;
};
std::vector<ItemClass> classes_of(const ModelSpec& model);

// Compute and expert traffic of one item in the two halves that a pair interleaves.
struct ItemPhases {
  Seconds attention_forward, attention_input_grad, attention_weight_grad;
  Seconds mlp_forward, mlp_input_grad, mlp_weight_grad;
  // Of the above, the share that is bound by multiprocessors and slows down when communication
  // kernels take some.
  double multiply_share = 0;
  ExchangeCost exchange;
  Seconds host_forward, host_backward;  // what the host needs to launch them
};

struct ItemCost {
  // Alone on the GPU, expert traffic exposed.
  Tick forward, input_grad, weight_grad;
  // Of these: communication that nothing hides.
  Tick forward_exposed, input_grad_exposed;
  ItemPhases phases;
  KeptBytes kept;  // per micro-batch
  TransientBytes transient;
  std::array<Seconds, kBases> by_basis{};  // of F + I + W compute
  Seconds uncertain;                       // sum of time x expected relative error
};

class ItemPricer {
 public:
  explicit ItemPricer(BlockPricer& blocks)
      : blocks_(blocks), slowest_(slowest_of(blocks.cluster().chip, blocks.cluster().gpus)) {}

  const ItemCost& price(ItemClass item, const BlockLayout& layout);
  // An overlapped pair: the forward of `ahead` with the whole backward of `back`, in the steady
  // state of a long chunk.
  Tick pair(ItemClass ahead, ItemClass back, const BlockLayout& layout);
  // Of a pair: the time its compute stream waits for communication.
  Tick pair_exposed(ItemClass ahead, ItemClass back, const BlockLayout& layout);

  // Drops all remembered items and pairs: references to them end here.
  void forget();

  BlockPricer& blocks() { return blocks_; }

 private:
  struct PairCost {
    Tick time, exposed;
  };
  const PairCost& pair_cost(ItemClass ahead, ItemClass back, const BlockLayout& layout);

  double multiprocessors() const;  // of the chip; 0 if not published

  BlockPricer& blocks_;
  double slowest_;  // of all chips that train together, over their mean
  std::map<std::pair<ItemClass, BlockLayout>, ItemCost> items_;
  std::map<std::tuple<ItemClass, ItemClass, BlockLayout>, PairCost> pairs_;
};

// The steady-state time of one overlapped pair, and the part in which compute waits, from the
// phases of both items.
struct PairTime {
  Seconds time, waiting;
};
PairTime pair_time(const ItemPhases& ahead, const ItemPhases& back, const SoftwareProfile& software,
                   double multiprocessors);

}  // namespace narrows

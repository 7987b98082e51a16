// Builds the op graph of a block. Passes in order: build, fuse, recipe (quantise ops, stored
// formats) happen in build_block; differentiate() then chooses what is kept, derives I and W and
// inserts recomputation and the mirrored communication.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/context.h"
#include "model/graph.h"
#include "model/keep.h"
#include "model/spec.h"

namespace narrows {

enum class BlockKind { Attention, DenseFfn, Moe, Embedding, Head, MtpEntry };

// How the work of a block is divided; only what changes the graph.
struct Sharding {
  int tp = 1;
  bool sequence_parallel = false;
  int cp = 1;
  int ep = 1;
  int etp = 1;
  int micro_batch = 1;                                   // sequences
  std::int64_t sequence = 0;                             // tokens of a whole sequence
  ContextExchange context = ContextExchange::AllGather;  // with cp > 1
  friend auto operator<=>(const Sharding&, const Sharding&) = default;
};

// What the training stack fuses, keeps and sends (SoftwareProfile holds the same flags as data).
struct Fusions {
  bool norm_residual = true;
  bool activation = true;
  bool rope = true;
  bool attention = true;
  bool permute = true;
  bool loss = true;
  bool grad_accumulation = true;
  bool quantised_activations = false;
  bool quantised_dispatch = false;
  bool norm = true;         // one kernel, against operations over float32 copies
  bool projections = true;  // q, k and v in one matmul, gate and up in another
  // What `selective` recomputation drops: the attention core's inner tensors, or op by op all that
  // is neither attention, a reduction nor every other matmul (torchtitan's per-op mode).
  bool selective_by_op = false;
  V3Modules v3 = V3Modules::All;  // what `v3` recomputation drops
  // Full recomputation of a layer ends with the last tensor that a gradient reads: the projection
  // down and what follows it do not run again (PyTorch's checkpoint since 2.1).
  bool recompute_stops_early = false;
  bool keeps_projections = false;  // … nor do those to queries, keys and values, which are kept
  bool loss_metrics = false;    // two metrics repeat the loss in float32 when activations are gone
  bool parallel_loss = false;   // an unfused loss in Megatron's steps, 52 bytes a logit, against 28
  bool keeps_gathered = false;  // what sequence parallelism gathered, against gathering it again
  Dtype gradient = Dtype::F32;  // in which weight gradients accumulate
  // Context parallelism above PyTorch's attention: keys and values are repeated to all heads before
  // they travel, attention runs rank by rank of the group, and what the steps make (outputs, and
  // gradients, which pass round a ring) is merged in float32 by operations.
  bool stepwise_context = false;
  bool wide = false;       // activations are f32 whatever the recipe
  double score_bytes = 5;  // kept of a score where attention is not fused
  friend auto operator<=>(const Fusions&, const Fusions&) = default;
};

// What routing brings to one rank, as multiples of the tokens that a rank sends: distinct tokens
// received, and copies (one per expert and token). The expected value is the mean of the fullest
// rank where imbalance is priced.
struct RoutedLoad {
  Rows received{1, 1};
  Rows copies{1, 1};
};

struct BlockKey {
  BlockKind kind = BlockKind::Attention;
  Sharding sharding;
  Recipe recipe = Recipe::Bf16;
  Fusions fusions;
  bool window = false;  // attention within the sliding window
};

// Tokens of one micro-batch on one rank: outside tensor-parallel regions (sequence parallel divides
// them), and inside.
double tokens_of(const Sharding& sharding);
double tokens_outside(const Sharding& sharding);

// The forward graph.
Graph build_block(const BlockKey& key, const ModelSpec& model, const RoutedLoad& load = {});

// Adds keep set, recomputation and gradients.
void differentiate(Graph& graph, Recompute recompute, const Fusions& fusions);

}  // namespace narrows

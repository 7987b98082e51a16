// A block bound to a rank: its op graph with the weights in memory, and what one micro-batch leaves
// in it between forward and the last gradient. block_pass.h walks it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "model/block.h"
#include "runtime/exchange.h"
#include "runtime/micro_batch.h"
#include "runtime/rank_context.h"

namespace narrows {

// A weight where the ops find it. Under ZeRO-3 `value` is there only while the block works.
struct BoundWeight {
  Weight weight;
  float* value = nullptr;
  float* gradient = nullptr;  // accumulated over micro-batches
  // Whether the gradient's memory is still that of the step before, for the first W to overwrite;
  // null: it was cleared.
  bool* is_stale = nullptr;
};

struct Block {
  BlockKind kind = BlockKind::Attention;
  int layer = -1;
  Graph graph;
  std::vector<BoundWeight> weights;
  std::vector<int> weight_of_op;  // forward op -> index in `weights`, -1 = none
  std::vector<int> bias_of_op;    // … that of its bias
  // Tensors that need no memory of their own: they are another tensor, unchanged. -1 = not so.
  std::vector<TensorId> value_alias;
  std::vector<TensorId> grad_alias;
  std::vector<bool> kept_by_forward;     // what outlives F
  std::vector<bool> kept_by_input_grad;  // what outlives I
  std::vector<bool> grad_kept;           // output gradients that W reads
  std::vector<Form> form;                // in which a tensor, and its gradient, waits
  int first_label = 0;                   // in the rank's log: of F, then R, I and W of every op
};

// The graph of the block with what is derived from it; the weights have no memory yet.
Block make_block(BlockKind kind, int layer, Recompute recompute, const RankContext& rank);

// The passes over a block: forward, forward again before the input gradient, and the gradients.
enum class Pass { Forward, Remake, InputGrad, WeightGrad };

// Linears that no recipe quantises: the router, the head.
bool is_plain(const Op& op);

// What one micro-batch holds in one block.
struct BlockRun {
  std::vector<Storage> value;  // by tensor
  std::vector<Storage> grad;
  Exchange exchange;               // of an MoE block
  std::vector<std::int32_t> rows;  // of the embedding: the rows looked up, -1 = another rank's
  bool remade = false;             // what I makes again is there
  bool rotated = false;            // the queries have been rotated in place
};

// One op's surroundings.
struct OpSite {
  RankContext& rank;
  const Block& block;
  BlockRun& run;
  MicroBatch& batch;
  // The block before in the chunk, whose output is still to be added to the residual stream.
  const Block* block_before = nullptr;
  BlockRun* run_before = nullptr;

  // As floats; what waits in a narrower form is unpacked.
  Storage& value(TensorId id) const;
  Storage& grad(TensorId id) const;
  // In whichever form it waits.
  Storage& waiting_value(TensorId id) const;
  Storage& waiting_grad(TensorId id) const;
  // Whether activations are rounded to bf16 when they are made.
  bool rounds() const { return rank.format != Multiply::F32; }
  // In the form in which it goes to other ranks: numbers of bf16 where the recipe rounds them to
  // it.
  Storage& travelling(TensorId id) const;
  // In which form the gradient of a tensor goes to other ranks: where matmuls in bf16 alone read
  // it, rounded first, as they would do anyway.
  Form travelling_form_of_grad(TensorId id) const;
  // In which form an op makes a value, or the gradient that only matmuls read: bf16 where it would
  // wait as that and the backend reads it so.
  Form made_form(TensorId id) const;
  // Memory for a value, of `rows` rows; again the same if it is there.
  Storage& make_value(TensorId id, std::int64_t rows, Form form = Form::F32) const;
  // The gradient of a tensor to add to: `fresh` if this is its first part, which then overwrites.
  struct Target {
    Storage& storage;
    bool fresh;
    float beta() const { return fresh ? 0.0f : 1.0f; }
  };
  Target grad_target(TensorId id, std::int64_t rows) const;
  // The whole gradient of a tensor, to be written in `form`.
  Storage& make_grad(TensorId id, std::int64_t rows, Form form) const;
  std::int64_t columns(TensorId id) const;
  const BoundWeight& weight(int forward_op) const;
  const BoundWeight* bias(int forward_op) const;  // null = none
  // By the op that the weight belongs to, which need not be in the graph.
  const BoundWeight* weight_named(std::string_view op) const;
  // In the rank's log.
  int label(Pass pass, int forward_op) const;
  // Whether matmuls alone read the gradient of a tensor: of what a linear without bias makes.
  bool only_multiplied(TensorId id) const;
  // The forward op that makes the tensor, -1 for an input.
  int producer(TensorId id) const;
};

}  // namespace narrows

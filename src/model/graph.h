// The op graph of a block: what one rank does for one micro-batch of one attention, FFN, MoE,
// embedding, head or MTP block. Built once per key and then immutable; ops stand in execution
// order. `measure` times its ops, `cost` prices them, `runtime` runs them; memory is the liveness
// of its tensors.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "model/op.h"

namespace narrows {

using TensorId = int;
inline constexpr TensorId kNoTensor = -1;

struct Tensor {
  std::string name;
  Rows rows;
  double columns = 0;
  Dtype dtype = Dtype::Bf16;
  TensorId kept_as = kNoTensor;  // a narrower copy that is kept for backward in its stead
};
Bytes bytes_expected(const Tensor& tensor);  // what time depends on
Bytes bytes_bound(const Tensor& tensor);     // what memory must be ready for

// One kernel or collective. Which of the shapes counts depends on `kind`; the others stay empty.
struct Op {
  OpKind kind = OpKind::Elementwise;
  std::string name;
  Direction direction = Direction::Forward;
  bool frozen = false;      // no gradient of it: its weight does not train, or it is a side step
  bool recomputed = false;  // a forward op that runs again in backward
  int forward =
      -1;  // of a gradient or recomputed op: the forward op's index; -1 = a pass beside one
  Recipe precision = Recipe::Bf16;  // in which format a matmul multiplies
  MatmulShape matmul;               // as in forward, whatever the direction
  AttentionShape attention;
  CollectiveShape collective;
  Bytes traffic;                  // memory-bound kinds: bytes read and written, expected
  Bytes weight;                   // stored bytes of the weight that it reads
  bool beside_exchange = false;   // of the shared experts: needs none of the tokens that travel
  bool inside_experts = false;    // between an expert's two matmuls
  bool inside_attention = false;  // a pass of an attention core that is not fused
  bool materialised = false;      // such a core: its products write and read all the scores
  bool biased = false;            // a matmul whose bias gradient is a pass of its own
  bool up_projection = false;     // MLA's q_b and kv_b, which v3 recomputes
  std::vector<TensorId> inputs;   // activations
  std::vector<TensorId> outputs;
  std::vector<TensorId> input_grad_needs;   // forward tensors that its I reads
  std::vector<TensorId> weight_grad_needs;  // forward tensors that its W reads
};

struct Graph {
  std::vector<Tensor> tensors;
  std::vector<Op> forward;
  // Filled by differentiate().
  std::vector<Op> recompute;  // run before the input gradient
  std::vector<Op> input_grad;
  std::vector<Op> weight_grad;
  std::vector<TensorId> kept_for_input;    // from F until I ends
  std::vector<TensorId> kept_for_weight;   // from F until W ends
  std::vector<TensorId> handed_to_weight;  // from I until W ends: gradients, and what I made again
  std::vector<TensorId> in_place;  // tensors whose gradient I writes over what was kept for it

  TensorId input = kNoTensor;   // the residual stream that enters
  bool second_half = false;     // … from another block of the same layer
  TensorId output = kNoTensor;  // … and leaves

  // How many times the bytes of activations their gradients have on the same way: sums, and what
  // matmuls alone read. Where kernels work in f32, only what a recipe rounds anyway travels so.
  double summed_gradients = 1;
  double multiplied_gradients = 1;
};

// Bytes by lifetime, per micro-batch.
struct KeptBytes {
  Bytes until_input_grad;
  Bytes until_weight_grad;
  Bytes input_to_weight_grad;
};
KeptBytes kept_bytes(const Graph& graph);

// The most that lives beside what is kept while a pass runs; what the block keeps counts as kept
// from the pass's first op to its last, so that an early op's tensors may hide in the room of what
// a later one makes.
struct TransientBytes {
  Bytes forward;
  Bytes input_grad;   // what it hands to W included
  Bytes weight_grad;  // beside what I handed on
  Bytes backward;     // where each op's W follows its I, and lets go of its gradient
  Bytes remade;       // of `input_grad` and `backward`: what runs again for them
};
TransientBytes transient_bytes(const Graph& graph);

// How many keys a query attends to on average.
double keys_attended(const AttentionShape& shape);

// FLOPs that the ops really execute (attention backward is five matmuls; recomputation counts).
Flops executed_flops(const Op& op);

}  // namespace narrows

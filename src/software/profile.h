// A training stack as data: what it can run (the search space is cut to that), what it fuses and
// overlaps, in which formats it keeps its state, and what it costs beside its kernels. Read from
// hwprofiles/software/*.json; every figure has a source. A profile may be `like` another and name
// only what differs: a release of a stack, or a vendor's recipe for it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "model/context.h"
#include "model/keep.h"
#include "model/recipe.h"
#include "schedule/schedule.h"

namespace narrows {

// How tokens reach their experts: DeepEP's two-hop kernels, plain NCCL all-to-all of every (token,
// expert) copy, an all-gather of all tokens, or an all-to-all that sends a token once to each rank
// that holds one of its experts.
enum class Dispatcher { DeepEp, AllToAll, AllGather, PerRank };
std::string to_string(Dispatcher dispatcher);  // "deepep"
std::optional<Dispatcher> dispatcher_of(std::string_view name);

// What physics or the stack's code allows a fitted figure to be, set before any fit, in SI units;
// the figure's source says what the bounds mean.
struct FitBounds {
  double low = 0;
  double high = 0;
  friend bool operator==(const FitBounds&, const FitBounds&) = default;
};

// How far forecasts of the stack go wrong beyond what their kernels' own errors say: nine in ten
// measured times lie within this ratio of the forecast, above or below. From runs that no fit had
// seen; the values here are for a stack of which no run is known.
struct ForecastSpread {
  double dense = 1.5;
  double moe = 1.8;
  friend bool operator==(const ForecastSpread&, const ForecastSpread&) = default;
};
// What of a step the host launches as CUDA graphs: nothing, a MoE layer up to its dispatch, that
// and attention, or whole passes.
enum class GraphScope { None, Router, Attention, Pass };
std::string to_string(GraphScope scope);  // "router"
std::optional<GraphScope> graph_scope_of(std::string_view name);

struct SoftwareProfile {
  std::string name;    // "hai-llm"
  std::string family;  // the profile at the root of its `like` chain; its own name if it has none
  std::string title;
  std::string source;  // where its behaviour is documented

  // What it can run.
  std::vector<ScheduleKind> schedules;
  std::vector<Recipe> recipes;
  std::vector<Recompute> recomputes;
  std::vector<int> zero_stages;
  std::vector<Recipe>
      emulated_recipes;  // run on any chip, whether or not it multiplies in that format
  bool sequence_parallel = false;
  std::vector<ContextExchange> context_parallel;  // its default first; none = it has none
  bool expert_tensor_parallel = false;
  int most_chunks_per_rank = 1;  // virtual pipeline stages

  // Formats of the state beside the weights that multiply.
  Dtype gradient_dtype = Dtype::F32;       // accumulated
  Dtype gradient_wire_dtype = Dtype::F32;  // reduced
  Dtype master_dtype = Dtype::F32;
  Dtype moment_dtype = Dtype::F32;  // both of AdamW's moments
  bool master_remainders = false;   // f32 masters of 16-bit weights are the 16 bits that those lack
  bool wide_storage = false;        // activations and weights are f32 between kernels, whatever the
                                    // recipe multiplies in; what it rounds travels rounded
  bool resident_quantised_weights =
      false;  // fp8 recipes keep the fp8 weights only, quantised once a step
  bool quantised_activations = false;  // fp8 recipes keep linear inputs in fp8 for backward
  bool quantised_gather = false;  // sequence parallelism gathers the quantised inputs of linears
  bool quantised_dispatch =
      false;  // fp8 recipes send fp8 tokens to the experts (combine stays bf16)

  // What is fused into its neighbours (each removes one pass over its tensor).
  bool fused_norm_residual = true;
  bool fused_activation = true;  // SwiGLU with quantisation, bias with GELU
  bool fused_rope = true;
  bool fused_attention = true;  // FlashAttention; otherwise scores are materialised
  bool fused_permute = true;
  bool fused_loss = true;
  // Training metrics compute the loss twice more in float32, after the backward pass has freed the
  // activations.
  bool loss_metrics = false;
  // A loss that is not fused takes Megatron's steps over a vocabulary that ranks share, against
  // PyTorch's over whole rows.
  bool parallel_loss = false;
  bool fused_grad_accumulation = true;  // weight gradients accumulate inside the matmul
  bool fused_norm = true;               // against operations over float32 copies
  bool fused_optimizer = true;          // one pass over the state, against one pass an operation
  bool fused_projections = true;        // q, k and v are one matmul, gate and up another

  // `selective` recomputation goes op by op (all but attention, reductions and every other matmul),
  // instead of the attention core's inner tensors.
  bool selective_by_op = false;
  V3Modules v3_modules = V3Modules::All;  // what `v3` recomputation makes again
  // Full recomputation does not run again what no gradient of the layer reads.
  bool recompute_stops_early = false;
  // `full` recomputation keeps what the projections to queries, keys and values make.
  bool keeps_projections = false;
  // `full` recomputation is of a layer's FFN; its attention keeps what its matmuls and its core
  // make, and runs its norms (and a core that is not fused) again.
  bool recomputes_ffn_only = false;
  // Layers from the first on whose activations wait in the host's memory for their backward. Moving
  // them is taken to hide under compute.
  int offloaded_layers = 0;
  // Bytes that an attention core that is not fused keeps of a score: its softmax, that again after
  // dropout, and the mask.
  double kept_score_bytes = 5;
  // Stages get the same number of layers unless they are told otherwise: what a published run of
  // the stack is laid out with. A plan of ours is not bound by it.
  bool even_stages = false;
  // A pipeline stage lets go of the tensor that it received once its first layer has run: the norm
  // works its gradient out from its own output, which the matmul behind it keeps anyway.
  bool frees_stage_input = false;
  // Sequence parallelism keeps the gathered inputs of its matmuls for W; otherwise it keeps its
  // shard and gathers again.
  bool keeps_gathered = false;

  // Context parallelism step by step above PyTorch's attention (Fusions::stepwise_context).
  bool stepwise_context = false;

  // A narrow recipe's experts are one kernel a matmul that quantises, activates and weighs in its
  // prologue and epilogue; otherwise those are passes of their own.
  bool fused_experts = false;

  // What hides under compute: the share in [0, 1].
  double overlap_tp = 0;          // of tensor-parallel collectives
  double overlap_gradients = 0;   // of the data-parallel gradient reduction
  double overlap_parameters = 0;  // of the gather of updated parameters
  double overlap_fsdp = 0;        // of per-layer gathers and scatters (ZeRO-3)
  double overlap_ep =
      0;  // of expert traffic, under another micro-batch where schedules do not pair
  bool overlap_ep_in_pairs = false;  // all-to-all under the other micro-batch of an FB pair
  bool overlap_shared_expert = false;
  // In a pipeline ZeRO-2 keeps gradients whole until the last micro-batch, as ZeRO-1 does.
  bool defers_scatter = false;
  bool blocking_p2p = false;  // pipeline sends wait for the receiver
  // What tensor-parallel ranks hold alike crosses to the next stage in shares, and is gathered
  // there.
  bool scatters_sends = false;
  // Weights of each gradient reduction where data parallelism reduces bucket by bucket; 0 = all at
  // once.
  Bytes gradient_bucket;
  // Activations lie batch first: what tensor parallelism gathers along the sequence is put in order
  // by a copy after the collective, and what it scatters by one before.
  bool batch_first = false;
  // Gathered weights are copied out to their tensors, and gradients into the buffer that is
  // scattered, in the format that travels.
  bool copies_shards = false;
  // ZeRO-3 gathers and scatters tensor by tensor, for recomputation and for gradients anew.
  bool gathers_by_tensor = false;

  // Kernels measured in this stack (KernelTimes' generation), "" = the newest published ones. Such
  // measurements were taken beside communication: compute_slowdown is in them.
  std::string kernel_generation;
  // Attention's own generation where it differs: "flash-2" where the stack runs FlashAttention-2 on
  // a chip that has faster kernels; "" = like the rest.
  std::string attention_kernels;
  double attention_slowdown = 1;  // time of the stack's attention over those kernels' time

  // What the stack's kernels take over the published ones at the same clock: layouts, epilogues and
  // gaps between kernels.
  double matmul_slowdown = 1;
  double stream_slowdown = 1;   // of memory-bound kernels
  double narrow_attention = 1;  // attention in bf16 over its time in the recipe's own format

  // Communication kernels' share of the chip while they run.
  Dispatcher dispatcher = Dispatcher::AllToAll;
  int comm_multiprocessors = 0;  // SMs of an expert dispatch or combine
  double comm_slowdown = 1;      // a transfer's time under compute over its time alone, at least 1
  double compute_slowdown =
      1;  // a kernel's time beside a transfer over its time alone on the SMs left, at least 1
  // The same for the collectives of FSDP and ZeRO-3, which flow under compute all the time.
  int collective_multiprocessors = 0;
  double collective_slowdown = 1;

  // Cost beside kernels.
  Seconds launch;  // the least time of one kernel, launch included
  // The host's time for an op that no graph launches. It runs ahead of the device; a pass of a
  // block takes as long as the slower of both.
  Seconds host_op;
  GraphScope graphs = GraphScope::None;
  // Expert by expert launches: what each further expert adds to a matmul over experts, with the
  // kernels that quantise and lay out its operands. 0 where one kernel takes them all.
  Seconds expert_launch;
  // A plain all-to-all waits on the host for the counts of tokens, and the device runs dry: once a
  // forward pass of a MoE layer.
  Seconds dispatch_sync;
  // Lists of pieces, one for each tensor and rank, that a sharded stack hands to its collectives:
  // the host's time for one piece, once for a reduction and once for a gather. 0 where tensors lie
  // in one flat buffer.
  Seconds shard_piece;
  Seconds step_overhead;  // once a step: data, logging, optimiser launch
  // Natural routing: the standard deviation of an expert's expected load over the mean
  // (cost/load.h).
  double expert_spread = 0;
  // How far apart the ranks of an expert group leave a chunk, over the chunk's time: the next
  // stage's first exchange waits for the last of them.
  double expert_skew = 0;
  Bytes context;                  // CUDA context, libraries and workspaces
  double allocator_overhead = 0;  // fragmentation: share added to activations
  Bytes comm_buffers;             // NCCL channels and the like

  ForecastSpread spread;

  std::vector<std::string> notes;
  std::map<std::string, std::string> sources;  // field name -> where its value comes from
  // Figure -> the profile in whose file its bounds stand: this one, or one that it is like. Empty
  // for a profile that was not read by name.
  std::map<std::string, std::string> fitted_in;
  std::map<std::string, FitBounds> fits;  // field name -> bounds of a figure that may be fitted

  friend bool operator==(const SoftwareProfile&, const SoftwareProfile&) = default;
};

// How the stack stores activations and plain weights under a recipe.
Dtype stored_dtype(const SoftwareProfile& software, Recipe recipe);

}  // namespace narrows

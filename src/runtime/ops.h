// What each kind of op does on a rank: forward, and its input and weight gradient. One file a
// family; block_pass.cc calls them as the graph lists them. `index` is the op's place in the
// block's forward list. Internal to src/runtime.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/block_run.h"

namespace narrows::ops {

// ops_linear.cc: matmuls, dense and grouped by expert.
void linear(const OpSite& site, int index);
void linear_input_grad(const OpSite& site, int index);
void linear_weight_grad(const OpSite& site, int index);

// ops_norm.cc
void norm(const OpSite& site, int index);
Status norm_input_grad(const OpSite& site, int index);
void head_norm(const OpSite& site, int index);  // of queries and keys
void head_norm_input_grad(const OpSite& site, int index);
void add_residual(const OpSite& site);  // the block before joins the residual stream

// ops_mtp.cc: hidden state and next embedding side by side, where multi-token prediction begins.
void join_next(const OpSite& site, int index);
void join_next_input_grad(const OpSite& site, int index);

// ops_attention.cc: rotation, assembly of keys, the core.
void rope(const OpSite& site, int index);
void rope_input_grad(const OpSite& site, int index);
Status attention(const OpSite& site, int index);
Status attention_input_grad(const OpSite& site, int index);
// Where context parallelism spreads heads: the core's output back to own tokens.
Status spread_tokens(const OpSite& site, int index);
Status spread_tokens_input_grad(const OpSite& site, int index);

// ops_router.cc: the choice of experts, and what keeps their loads even.
void router(const OpSite& site, int index);
Status router_input_grad(const OpSite& site, int index);
// Without sequence parallelism the tensor-parallel ranks send the same tokens. Each then stands for
// its share of their gradient, as it does of the shared experts': the sums over ranks are whole
// again.
float share_of_gradient(const OpSite& site);

// ops_experts.cc: the way to the experts and back.
void activation(const OpSite& site, int index);
void activation_input_grad(const OpSite& site, int index);
Status dispatch(const OpSite& site, int index);
Status dispatch_input_grad(const OpSite& site, int index);
void permute(const OpSite& site, int index);
void permute_input_grad(const OpSite& site, int index);
Status combine(const OpSite& site, int index);
Status combine_input_grad(const OpSite& site, int index);
void add_outputs(const OpSite& site, int index);
void gated_sum(const OpSite& site, int index);  // of a shared expert behind a gate
void gated_sum_input_grad(const OpSite& site, int index);

// ops_split_experts.cc: copies among the ranks that split an expert.
Status gather_copies(const OpSite& site, int index);
Status gather_copies_input_grad(const OpSite& site, int index);
Status scatter_copies(const OpSite& site, int index);
Status scatter_copies_input_grad(const OpSite& site, int index);

// ops_tensor_parallel.cc: into and out of the regions where weights are split.
Status tensor_collective(const OpSite& site, int index);
Status tensor_collective_input_grad(const OpSite& site, int index);

// ops_ends.cc: the embedding and the loss.
void embedding(const OpSite& site, int index);
void embedding_weight_grad(const OpSite& site, int index);
Status loss(const OpSite& site, int index);
void loss_input_grad(const OpSite& site, int index);

inline const Op& op_at(const OpSite& site, int index) {
  return site.block.graph.forward[static_cast<std::size_t>(index)];
}
inline bool is_head_norm(const Op& op) { return op.name == "qk norm"; }
inline bool is_join(const Op& op) { return op.name == "embedding norm"; }
// Whether the way to the experts belongs to a layer's routed experts (grouped by expert).
inline bool is_grouped(const Op& op) { return op.name.starts_with("expert "); }

}  // namespace narrows::ops

// The fields of a software profile in the order of its file, named once for all that reads, writes
// or looks them up.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/units.h"
#include "software/profile.h"

namespace narrows {

// Calls visit(name, field), of numbers visit(name, field, least, most), for each. `Profile` is
// SoftwareProfile, const or not.
template <typename Profile, typename Visitor>
void each_field(Profile& p, Visitor& visit) {
  visit("schedules", p.schedules);
  visit("recipes", p.recipes);
  visit("emulated_recipes", p.emulated_recipes);
  visit("recomputes", p.recomputes);
  visit("zero_stages", p.zero_stages);
  visit("sequence_parallel", p.sequence_parallel);
  visit("context_parallel", p.context_parallel);
  visit("expert_tensor_parallel", p.expert_tensor_parallel);
  visit("most_chunks_per_rank", p.most_chunks_per_rank, 1, 1024);

  visit("gradient_dtype", p.gradient_dtype);
  visit("gradient_wire_dtype", p.gradient_wire_dtype);
  visit("master_dtype", p.master_dtype);
  visit("moment_dtype", p.moment_dtype);
  visit("resident_quantised_weights", p.resident_quantised_weights);
  visit("quantised_activations", p.quantised_activations);
  visit("quantised_gather", p.quantised_gather);
  visit("quantised_dispatch", p.quantised_dispatch);

  visit("fused_norm_residual", p.fused_norm_residual);
  visit("fused_activation", p.fused_activation);
  visit("fused_rope", p.fused_rope);
  visit("fused_attention", p.fused_attention);
  visit("fused_permute", p.fused_permute);
  visit("fused_loss", p.fused_loss);
  visit("loss_metrics", p.loss_metrics);
  visit("parallel_loss", p.parallel_loss);
  visit("fused_grad_accumulation", p.fused_grad_accumulation);
  visit("fused_experts", p.fused_experts);

  visit("overlap_tp", p.overlap_tp, 0, 1);
  visit("overlap_gradients", p.overlap_gradients, 0, 1);
  visit("overlap_parameters", p.overlap_parameters, 0, 1);
  visit("overlap_fsdp", p.overlap_fsdp, 0, 1);
  visit("overlap_ep", p.overlap_ep, 0, 1);
  visit("overlap_ep_in_pairs", p.overlap_ep_in_pairs);
  visit("overlap_shared_expert", p.overlap_shared_expert);
  visit("blocking_p2p", p.blocking_p2p);
  visit("scatters_sends", p.scatters_sends);

  visit("dispatcher", p.dispatcher);
  visit("comm_multiprocessors", p.comm_multiprocessors, 0, 4096);
  visit("kernel_generation", p.kernel_generation);
  visit("matmul_slowdown", p.matmul_slowdown, 1, 10);
  visit("stream_slowdown", p.stream_slowdown, 1, 10);
  visit("narrow_attention", p.narrow_attention, 1, 4);
  visit("comm_slowdown", p.comm_slowdown, 1, 100);
  visit("compute_slowdown", p.compute_slowdown, 1, 100);

  visit("launch", p.launch);
  visit("host_op", p.host_op);
  visit("graphs", p.graphs);
  visit("expert_launch", p.expert_launch);
  visit("dispatch_sync", p.dispatch_sync);
  visit("step_overhead", p.step_overhead);
  visit("expert_spread", p.expert_spread, 0, 10);
  visit("expert_skew", p.expert_skew, 0, 1);
  visit("context", p.context);
  visit("allocator_overhead", p.allocator_overhead, 0, 10);
  visit("comm_buffers", p.comm_buffers);

  visit("attention_kernels", p.attention_kernels);
  visit("attention_slowdown", p.attention_slowdown, 1, 10);
  visit("collective_multiprocessors", p.collective_multiprocessors, 0, 4096);
  visit("collective_slowdown", p.collective_slowdown, 1, 100);
  visit("fused_norm", p.fused_norm);
  visit("fused_optimizer", p.fused_optimizer);
  visit("fused_projections", p.fused_projections);
  visit("selective_by_op", p.selective_by_op);
  visit("recompute_stops_early", p.recompute_stops_early);
  visit("recomputes_ffn_only", p.recomputes_ffn_only);
  visit("keeps_gathered", p.keeps_gathered);
  visit("defers_scatter", p.defers_scatter);
  visit("stepwise_context", p.stepwise_context);
  visit("batch_first", p.batch_first);
  visit("copies_shards", p.copies_shards);
  visit("gradient_bucket", p.gradient_bucket);
  visit("gathers_by_tensor", p.gathers_by_tensor);
  visit("shard_piece", p.shard_piece);
  visit("wide_storage", p.wide_storage);
  visit("master_remainders", p.master_remainders);
  visit("offloaded_layers", p.offloaded_layers, 0, 4096);
  visit("kept_score_bytes", p.kept_score_bytes, 0, 16);
  visit("even_stages", p.even_stages);
  visit("frees_stage_input", p.frees_stage_input);
  visit("v3_modules", p.v3_modules);
  visit("keeps_projections", p.keeps_projections);
}

// A number, time or size in SI units.
inline double si(double v) { return v; }
inline double si(Seconds v) { return v / sec; }
inline double si(Bytes v) { return v / byte; }

}  // namespace narrows

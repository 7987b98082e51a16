// SPDX-License-Identifier: Apache-2.0
#include "runtime/block_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/packing.h"

namespace narrows {
namespace {

std::size_t at(TensorId id) { return static_cast<std::size_t>(id); }

TensorId resolve(const std::vector<TensorId>& alias, TensorId id) {
  while (alias[at(id)] != kNoTensor) id = alias[at(id)];
  return id;
}

// The ops whose result is their operand, on this layout.
void find_aliases(Block& block, const Strategy& s) {
  for (const Op& op : block.graph.forward) {
    if (op.kind == OpKind::Elementwise && op.inputs.size() == 2) {
      for (const TensorId id : op.inputs) block.grad_alias[at(id)] = op.outputs.front();
    }
    // Of a gated sum only the first term is added as it is.
    if (op.kind == OpKind::Elementwise && op.inputs.size() == 3) {
      block.grad_alias[at(op.inputs.front())] = op.outputs.front();
    }
    if (op.kind != OpKind::Collective) continue;
    const TensorId in = op.inputs.front();
    const TensorId out = op.outputs.front();
    if (op.collective.what == CollectiveKind::Dispatch && s.ep == 1) {
      block.value_alias[at(out)] = in;
      block.grad_alias[at(out)] = in;
    }
    if (op.collective.what == CollectiveKind::Combine && s.ep == 1) {
      block.value_alias[at(out)] = in;
      block.grad_alias[at(in)] = out;
    }
    if (op.collective.what == CollectiveKind::AllReduce) block.grad_alias[at(in)] = out;
  }
}

void find_lifetimes(Block& block) {
  const Graph& g = block.graph;
  const auto keep = [](std::vector<bool>& set, const std::vector<TensorId>& alias, TensorId id) {
    if (id < std::ssize(set)) set[at(resolve(alias, id))] = true;
  };
  for (const TensorId id : g.kept_for_input) keep(block.kept_by_forward, block.value_alias, id);
  for (const TensorId id : g.kept_for_weight) {
    keep(block.kept_by_forward, block.value_alias, id);
    keep(block.kept_by_input_grad, block.value_alias, id);
  }
  for (const TensorId id : g.handed_to_weight) {
    keep(block.kept_by_input_grad, block.value_alias, id);
  }
  for (const Op& op : g.weight_grad) {
    if (op.forward < 0) continue;
    const Op& forward = g.forward[static_cast<std::size_t>(op.forward)];
    if (forward.kind == OpKind::Matmul || forward.kind == OpKind::Embedding) {
      keep(block.grad_kept, block.grad_alias, forward.outputs.front());
    }
  }
}

int index_of(const Block& block, std::string_view op) {
  const auto found = std::find_if(block.weights.begin(), block.weights.end(),
                                  [&](const BoundWeight& w) { return w.weight.op == op; });
  return found == block.weights.end() ? -1 : static_cast<int>(found - block.weights.begin());
}

// The rows that were looked up: to look them up again may need other ranks.
void keep_next_embedding(Block& block) {
  for (const Op& op : block.graph.forward) {
    if (op.kind == OpKind::Norm && op.inputs.size() == 2) {
      block.kept_by_forward[at(resolve(block.value_alias, op.inputs.front()))] = true;
    }
  }
}

// The graph's tensors as the runtime stores them: quantisation is the matmuls' own business.
Recipe stored_recipe(const RankContext& rank) {
  return rank.format == Multiply::F32 ? Recipe::F32 : Recipe::Bf16;
}

bool holds(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// What V3 caches in fp8 (deepseek2024 §3.3.3): the input of linears that multiply in fp8 and of
// nothing else's gradient, and the input of SwiGLU.
bool waits_in_fp8(const Graph& graph, TensorId id) {
  bool any = false;
  for (const Op& op : graph.forward) {
    const bool quantises = op.kind == OpKind::Matmul && !is_plain(op);
    if (op.kind == OpKind::ActivationFn && holds(op.inputs, id)) return true;
    if (holds(op.input_grad_needs, id)) return false;
    if (!holds(op.weight_grad_needs, id)) continue;
    if (!quantises) return false;
    any = true;
  }
  return any;
}

void find_forms(Block& block, const RankContext& rank) {
  const bool caches = rank.format == Multiply::Fp8Block && rank.plan.software.quantised_activations;
  for (TensorId id = 0; id < std::ssize(block.graph.tensors); ++id) {
    const bool is_float = block.graph.tensors[at(id)].dtype == Dtype::F32;
    block.form.push_back(is_float                                  ? Form::F32
                         : caches && waits_in_fp8(block.graph, id) ? Form::Fp8
                                                                   : Form::Bf16);
  }
}

const char* name_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::Attention:
      return "attention";
    case BlockKind::DenseFfn:
      return "ffn";
    case BlockKind::Moe:
      return "moe";
    case BlockKind::Embedding:
      return "embedding";
    case BlockKind::Head:
      return "head";
    case BlockKind::MtpEntry:
      return "mtp";
  }
  return "";
}

std::string shape_of(const Op& op) {
  if (op.kind == OpKind::Matmul) return fmt::format("{}x{}", op.matmul.n, op.matmul.k);
  if (op.kind != OpKind::Attention) return "";
  const AttentionShape& s = op.attention;
  return fmt::format("{}/{} heads of {}+{}, {} keys", s.heads, s.kv_heads, s.qk_dim, s.v_dim,
                     s.keys);
}

// What the log calls the op in one pass; `derived` are the pass's ops.
OpLabel label_for(const Block& block, const std::vector<Op>& derived, std::size_t forward,
                  const char* direction, const RankContext& rank) {
  const Op& op = block.graph.forward[forward];
  const bool narrow = op.kind == OpKind::Matmul && op.name != "router";
  const Recipe recipe = is_plain(op) ? stored_recipe(rank) : rank.strategy().precision;
  OpLabel label{.block = name_of(block.kind),
                .layer = block.layer,
                .name = op.name,
                .kind = to_string(op.kind),
                .direction = direction,
                .shape = shape_of(op),
                .format = narrow ? to_string(recipe) : "f32"};
  if (op.outputs.empty()) return label;
  const double rows = block.graph.tensors[at(op.outputs.front())].rows.expected;
  for (const Op& run : derived) {
    const bool is_it =
        &derived == &block.graph.forward ? &run == &op : run.forward == static_cast<int>(forward);
    if (is_it && rows > 0) label.flops_a_row += executed_flops(run) / flop / rows;
  }
  return label;
}

void add_labels(Block& block, const RankContext& rank) {
  if (rank.log == nullptr) return;
  const Graph& g = block.graph;
  const std::pair<const std::vector<Op>*, const char*> passes[] = {
      {&g.forward, "F"}, {&g.recompute, "R"}, {&g.input_grad, "I"}, {&g.weight_grad, "W"}};
  for (const auto& [ops, direction] : passes) {
    for (std::size_t i = 0; i < g.forward.size(); ++i) {
      const int label = rank.log->add(label_for(block, *ops, i, direction, rank));
      if (ops == &g.forward && i == 0) block.first_label = label;
    }
  }
}

}  // namespace

bool is_plain(const Op& op) {
  return op.name == "router" || op.name == "head" || op.name == "shared gate";
}

Block make_block(BlockKind kind, int layer, Recompute recompute, const RankContext& rank) {
  // What the runtime's own kernels fuse.
  Fusions fusions;
  fusions.norm_residual = false;
  Block block;
  block.kind = kind;
  block.layer = layer;
  block.graph = build_block({.kind = kind,
                             .sharding = sharding_of(rank.plan),
                             .recipe = stored_recipe(rank),
                             .fusions = fusions,
                             .window = layer >= 0 && has_window(rank.model(), layer)},
                            rank.model());
  const std::size_t tensors = block.graph.tensors.size();
  differentiate(block.graph, recompute, fusions);
  block.value_alias.assign(tensors, kNoTensor);
  block.grad_alias.assign(tensors, kNoTensor);
  block.kept_by_forward.assign(tensors, false);
  block.kept_by_input_grad.assign(tensors, false);
  block.grad_kept.assign(tensors, false);
  find_aliases(block, rank.strategy());
  find_lifetimes(block);
  find_forms(block, rank);
  if (kind == BlockKind::MtpEntry && recompute != Recompute::Full) keep_next_embedding(block);
  for (Weight& w : weights_of(kind, layer, rank.model(), weight_shard(rank))) {
    block.weights.push_back({std::move(w)});
  }
  for (const Op& op : block.graph.forward) {
    block.weight_of_op.push_back(index_of(block, op.name));
    block.bias_of_op.push_back(index_of(block, op.name + " bias"));
  }
  add_labels(block, rank);
  return block;
}

Storage& OpSite::waiting_value(TensorId id) const {
  return run.value[at(resolve(block.value_alias, id))];
}

Storage& OpSite::waiting_grad(TensorId id) const {
  return run.grad[at(resolve(block.grad_alias, id))];
}

Storage& OpSite::value(TensorId id) const {
  Storage& storage = waiting_value(id);
  unpack(storage, rank.backend, rank.pool);
  return storage;
}

Storage& OpSite::grad(TensorId id) const {
  Storage& storage = waiting_grad(id);
  unpack(storage, rank.backend, rank.pool);
  return storage;
}

// Once it has been E4M3 it is no number of bf16.
Storage& OpSite::travelling(TensorId id) const {
  Storage& storage = waiting_value(id);
  const bool narrow = rounds() && storage.form() != Form::Fp8;
  pack(storage, narrow ? Form::Bf16 : Form::F32, rank.backend, rank.pool);
  return storage;
}

Form OpSite::travelling_form_of_grad(TensorId id) const {
  const bool narrow = rank.format == Multiply::Bf16 && only_multiplied(id);
  return narrow ? Form::Bf16 : Form::F32;
}

std::int64_t OpSite::columns(TensorId id) const {
  return static_cast<std::int64_t>(block.graph.tensors[at(id)].columns);
}

Form OpSite::made_form(TensorId id) const {
  const bool narrow = rank.format == Multiply::Bf16 && rank.backend.makes_bf16();
  return narrow ? block.form[at(id)] : Form::F32;
}

Storage& OpSite::make_value(TensorId id, std::int64_t rows, Form form) const {
  Storage& storage = waiting_value(id);
  if (storage.form() != form) storage.release();
  if (!storage.held()) storage = rank.pool.matrix(rows, columns(id), form);
  ASSERT(storage.rows() == rows);
  return storage;
}

Storage& OpSite::make_grad(TensorId id, std::int64_t rows, Form form) const {
  Storage& storage = waiting_grad(id);
  ASSERT(!storage.held());
  storage = rank.pool.matrix(rows, columns(id), form);
  return storage;
}

OpSite::Target OpSite::grad_target(TensorId id, std::int64_t rows) const {
  Storage& storage = grad(id);
  const bool fresh = !storage.held();
  if (fresh) storage = rank.pool.matrix(rows, columns(id));
  ASSERT(storage.rows() == rows);
  return {storage, fresh};
}

const BoundWeight& OpSite::weight(int forward_op) const {
  const int index = block.weight_of_op[static_cast<std::size_t>(forward_op)];
  ASSERT(index >= 0);
  return block.weights[static_cast<std::size_t>(index)];
}

const BoundWeight* OpSite::bias(int forward_op) const {
  const int index = block.bias_of_op[static_cast<std::size_t>(forward_op)];
  return index < 0 ? nullptr : &block.weights[static_cast<std::size_t>(index)];
}

const BoundWeight* OpSite::weight_named(std::string_view op) const {
  const int index = index_of(block, op);
  return index < 0 ? nullptr : &block.weights[static_cast<std::size_t>(index)];
}

int OpSite::label(Pass pass, int forward_op) const {
  return block.first_label + static_cast<int>(pass) * static_cast<int>(block.graph.forward.size()) +
         forward_op;
}

bool OpSite::only_multiplied(TensorId id) const {
  const int op = producer(id);
  return op >= 0 && block.graph.forward[static_cast<std::size_t>(op)].kind == OpKind::Matmul &&
         bias(op) == nullptr;
}

int OpSite::producer(TensorId id) const {
  const std::vector<Op>& ops = block.graph.forward;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const std::vector<TensorId>& made = ops[i].outputs;
    if (std::find(made.begin(), made.end(), id) != made.end()) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace narrows

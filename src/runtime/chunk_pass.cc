// SPDX-License-Identifier: Apache-2.0
#include "runtime/chunk_pass.h"

#include <utility>

namespace narrows {
namespace {

bool is_ffn(BlockKind kind) { return kind == BlockKind::DenseFfn || kind == BlockKind::Moe; }
bool is_layer(BlockKind kind) { return kind != BlockKind::Embedding && kind != BlockKind::Head; }

}  // namespace

ChunkPass::ChunkPass(RankContext& rank, const Chunk& chunk) : rank_(rank) {
  const std::vector<ItemKind> items = items_of(rank.model());
  const auto add = [&](BlockKind kind, int layer) {
    // Checkpointing wraps layers: the ends of the model are not run again in full.
    const bool ends = !is_layer(kind) && chunk.recompute == Recompute::Full;
    blocks_.push_back(make_block(kind, layer, ends ? Recompute::None : chunk.recompute, rank));
    // And of a layer only the input is kept: the FFN's own is made again on the way.
    Block& block = blocks_.back();
    if (is_ffn(kind) && chunk.recompute == Recompute::Full) {
      block.kept_by_forward[static_cast<std::size_t>(block.graph.input)] = false;
    }
  };
  for (int item = chunk.first; item <= chunk.last; ++item) {
    switch (items[static_cast<std::size_t>(item)]) {
      case ItemKind::Embedding:
        add(BlockKind::Embedding, -1);
        break;
      case ItemKind::DenseLayer:
        add(BlockKind::Attention, item - 1);
        add(BlockKind::DenseFfn, item - 1);
        break;
      case ItemKind::MoeLayer:
        add(BlockKind::Attention, item - 1);
        add(BlockKind::Moe, item - 1);
        break;
      case ItemKind::Head:
        add(BlockKind::Head, -1);
        break;
      case ItemKind::MtpBlock:
        ASSERT(false);  // refused before (supported.h)
    }
  }
}

OpSite ChunkPass::site(ChunkRun& run, std::size_t i) {
  return {rank_,
          blocks_[i],
          run.blocks[i],
          run.batch,
          i > 0 ? &blocks_[i - 1] : nullptr,
          i > 0 ? &run.blocks[i - 1] : nullptr};
}

Result<Storage> ChunkPass::forward(ChunkRun& run, Storage stream, Buckets& buckets) {
  run.blocks.resize(blocks_.size());
  if (stream.held()) {
    run.blocks.front().value.resize(blocks_.front().value_alias.size());
    run.blocks.front().value[static_cast<std::size_t>(blocks_.front().graph.input)] =
        std::move(stream);
  }
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    TRY(buckets.acquire_values(blocks_[i]));
    TRY(narrows::forward(site(run, i)));
    buckets.release_values(blocks_[i]);
    if (i > 0) drop_after_forward(site(run, i - 1));
  }
  Storage out;
  const OpSite last = site(run, blocks_.size() - 1);
  const Graph& graph = last.block.graph;
  if (last.block.kind == BlockKind::Embedding) {
    out = std::move(last.value(graph.output));
  } else if (last.block.kind != BlockKind::Head) {
    const Storage& carried = last.value(graph.input);
    const Storage& output = last.value(graph.output);
    out = rank_.pool.matrix(output.rows(), output.columns());
    rank_.backend.run(
        kernels::Add{carried.data(), output.data(), out.data(), out.count(), last.rounds()});
  }
  drop_after_forward(last);
  return out;
}

// The input of an FFN that was not kept, from the attention in front of it.
Status ChunkPass::remake_input(ChunkRun& run, std::size_t i, Buckets& buckets) {
  const OpSite at = site(run, i);
  if (!is_ffn(at.block.kind) || at.value(at.block.graph.input).held()) return {};
  TRY(buckets.acquire_values(blocks_[i - 1]));
  TRY(recompute(site(run, i - 1)));
  buckets.release_values(blocks_[i - 1]);
  return {};
}

Status ChunkPass::input_grad_of(ChunkRun& run, std::size_t i, Storage& gradient, Buckets& buckets) {
  const OpSite at = site(run, i);
  const Graph& graph = at.block.graph;
  if (at.block.kind != BlockKind::Head) at.grad(graph.output) = std::move(gradient);
  buckets.acquire_gradients(blocks_[i]);
  TRY(remake_input(run, i, buckets));
  TRY(buckets.acquire_values(blocks_[i]));
  TRY(narrows::input_grad(at));
  buckets.release_values(blocks_[i]);
  gradient = graph.input == kNoTensor ? Storage() : std::move(at.grad(graph.input));
  return {};
}

Status ChunkPass::weight_grad_of(ChunkRun& run, std::size_t i, Buckets& buckets) {
  TRY(narrows::weight_grad(site(run, i)));
  return buckets.release_gradients(blocks_[i]);
}

Result<Storage> ChunkPass::input_grad(ChunkRun& run, Storage gradient, Buckets& buckets) {
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    TRY(input_grad_of(run, i, gradient, buckets));
    pack_for_weight_grad(site(run, i));
  }
  return gradient;
}

Status ChunkPass::weight_grad(ChunkRun& run, Buckets& buckets) {
  for (std::size_t i = blocks_.size(); i-- > 0;) TRY(weight_grad_of(run, i, buckets));
  return {};
}

Result<Storage> ChunkPass::backward(ChunkRun& run, Storage gradient, Buckets& buckets) {
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    TRY(input_grad_of(run, i, gradient, buckets));
    TRY(weight_grad_of(run, i, buckets));
  }
  return gradient;
}

}  // namespace narrows

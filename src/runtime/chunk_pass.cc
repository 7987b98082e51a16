// SPDX-License-Identifier: Apache-2.0
#include "runtime/chunk_pass.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/packing.h"

namespace narrows {
namespace {

bool is_ffn(BlockKind kind) { return kind == BlockKind::DenseFfn || kind == BlockKind::Moe; }
bool is_layer(BlockKind kind) { return kind != BlockKind::Embedding && kind != BlockKind::Head; }

// A multi-token-prediction block is an entry, a layer's two halves and a head.
constexpr int kMtpBlocks = 4;
bool is_mtp_head(const Block& block) { return block.kind == BlockKind::Head && block.layer >= 0; }

}  // namespace

void ChunkPass::add_block(BlockKind kind, int layer, Recompute recompute) {
  // Checkpointing wraps layers: the ends of the model are not run again in full.
  const bool ends = !is_layer(kind) && recompute == Recompute::Full;
  before_.push_back(static_cast<int>(blocks_.size()) - 1);
  blocks_.push_back(make_block(kind, layer, ends ? Recompute::None : recompute, rank_));
  // And of a layer only the input is kept: the FFN's own is made again on the way.
  Block& block = blocks_.back();
  if (is_ffn(kind) && recompute == Recompute::Full) {
    block.kept_by_forward[static_cast<std::size_t>(block.graph.input)] = false;
  }
  const ModelSpec& model = rank_.model();
  if (kind == BlockKind::Moe && model.moe->selection_bias) {
    rank_.balance.add(layer, model.moe->experts);
  }
}

void ChunkPass::add_mtp(int layer, Recompute recompute) {
  add_block(BlockKind::MtpEntry, layer, recompute);
  add_block(BlockKind::Attention, layer, recompute);
  add_block(rank_.model().moe ? BlockKind::Moe : BlockKind::DenseFfn, layer, recompute);
  add_block(BlockKind::Head, layer, recompute);
}

// Item 0 is the embedding, so that item `number` is layer number - 1.
void ChunkPass::add_item(ItemKind item, int number, Recompute recompute) {
  switch (item) {
    case ItemKind::Embedding:
      return add_block(BlockKind::Embedding, -1, recompute);
    case ItemKind::DenseLayer:
      add_block(BlockKind::Attention, number - 1, recompute);
      return add_block(BlockKind::DenseFfn, number - 1, recompute);
    case ItemKind::MoeLayer:
      add_block(BlockKind::Attention, number - 1, recompute);
      return add_block(BlockKind::Moe, number - 1, recompute);
    case ItemKind::MtpBlock:
      return add_mtp(number - 1, recompute);
    case ItemKind::Head:
      return add_block(BlockKind::Head, -1, recompute);
  }
}

ChunkPass::ChunkPass(RankContext& rank, const Chunk& chunk) : rank_(rank) {
  const std::vector<ItemKind> items = items_of(rank.model());
  for (int item = chunk.first; item <= chunk.last; ++item) {
    const std::size_t first = blocks_.size();
    add_item(items[static_cast<std::size_t>(item)], item, chunk.recompute);
    if (first > 0 && is_mtp_head(blocks_[first - 1])) {
      before_[first] = static_cast<int>(first) - kMtpBlocks;
    }
  }
}

OpSite ChunkPass::site(ChunkRun& run, std::size_t i) {
  const bool first = before_[i] < 0;
  const std::size_t before = first ? 0 : static_cast<std::size_t>(before_[i]);
  return {rank_,
          blocks_[i],
          run.blocks[i],
          run.batch,
          first ? nullptr : &blocks_[before],
          first ? nullptr : &run.blocks[before]};
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
  Storage out = leaving(run);
  drop_after_forward(site(run, blocks_.size() - 1));
  return out;
}

// The residual stream behind the last block, as it travels; empty behind the head.
Storage ChunkPass::leaving(ChunkRun& run) {
  const std::size_t back = blocks_.size() - 1;
  const OpSite last = site(run, back);
  const Graph& graph = last.block.graph;
  if (last.block.kind == BlockKind::Embedding) return std::move(last.travelling(graph.output));
  Storage out;
  if (is_mtp_head(last.block)) {
    const OpSite entry = site(run, back + 1 - kMtpBlocks);
    const View passed = view_of(entry.travelling(entry.block.graph.input));
    const Storage& lies = entry.waiting_value(entry.block.graph.input);
    out = rank_.pool.matrix(lies.rows(), lies.columns(), lies.form());
    std::memcpy(out.memory(), passed.data,
                static_cast<std::size_t>(passed.count) * size_of(passed.element));
  } else if (last.block.kind != BlockKind::Head) {
    const Storage& carried = last.travelling(graph.input);
    const Storage& output = last.travelling(graph.output);
    out = rank_.pool.matrix(output.rows(), output.columns(), output.form());
    rank_.backend.run(kernels::Add{floats_of(carried), floats_of(output), floats_of(out),
                                   out.count(), last.rounds(), bf16_of(carried), bf16_of(output),
                                   bf16_of(out)});
  }
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
  if (is_mtp_head(at.block)) run.past_mtp = std::move(gradient);
  if (at.block.kind != BlockKind::Head) at.grad(graph.output) = std::move(gradient);
  buckets.acquire_gradients(blocks_[i]);
  TRY(remake_input(run, i, buckets));
  TRY(buckets.acquire_values(blocks_[i]));
  TRY(narrows::input_grad(at));
  buckets.release_values(blocks_[i]);
  gradient = graph.input == kNoTensor ? Storage() : std::move(at.grad(graph.input));
  if (at.block.kind == BlockKind::MtpEntry) {
    float* const sum = gradient.data();
    rank_.backend.run(kernels::Add{sum, run.past_mtp.data(), sum, gradient.count()});
    run.past_mtp.release();
  }
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

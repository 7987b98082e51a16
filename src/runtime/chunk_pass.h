// A chunk of the model on a rank: the blocks of a run of items, one after the other. What enters
// and leaves is the residual stream, and backward its gradient; the embedding takes tokens and the
// head ends in the loss, so that a chunk with one of them takes or gives an empty matrix there. The
// stream runs through the blocks in order; only a multi-token-prediction block stands beside it:
// the block behind goes on from the stream that entered there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "runtime/block_pass.h"
#include "runtime/bucket.h"

namespace narrows {

// One micro-batch on its way through a chunk.
struct ChunkRun {
  MicroBatch batch;
  std::vector<BlockRun> blocks;
  Storage past_mtp;  // backward: the gradient of the stream that went past a prediction block
};

class ChunkPass {
 public:
  // The blocks of the items, not yet with weights in memory.
  ChunkPass(RankContext& rank, const Chunk& chunk);

  std::vector<Block>& blocks() { return blocks_; }

  Result<Storage> forward(ChunkRun& run, Storage stream, Buckets& buckets);
  // I of all blocks, last to first; W of all of them; or both block by block, which holds less.
  Result<Storage> input_grad(ChunkRun& run, Storage gradient, Buckets& buckets);
  Status weight_grad(ChunkRun& run, Buckets& buckets);
  Result<Storage> backward(ChunkRun& run, Storage gradient, Buckets& buckets);

 private:
  void add_block(BlockKind kind, int layer, Recompute recompute);
  void add_mtp(int layer, Recompute recompute);
  void add_item(ItemKind item, int number, Recompute recompute);
  OpSite site(ChunkRun& run, std::size_t i);
  Storage leaving(ChunkRun& run);
  Status remake_input(ChunkRun& run, std::size_t i, Buckets& buckets);
  Status input_grad_of(ChunkRun& run, std::size_t i, Storage& gradient, Buckets& buckets);
  Status weight_grad_of(ChunkRun& run, std::size_t i, Buckets& buckets);

  RankContext& rank_;
  std::vector<Block> blocks_;
  std::vector<int> before_;  // the block whose output joins the stream in front of each, -1 = none
};

}  // namespace narrows

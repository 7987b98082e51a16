// Which weights a rank holds of a block, and how they lie in memory. A weight belongs to one op of
// the block's graph and is stored as that op reads it: gate and up in one matrix, a rank's experts
// one after the other, shards cut by tensor and expert parallelism. Its pieces say where in the
// whole model's tensors, by their Hugging Face names, every part of it belongs: initialisation,
// checkpoints and comparisons between layouts go by pieces.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/block.h"
#include "plan/plan.h"

namespace narrows {

// A rectangle of a whole tensor (rows, columns; a vector has one row), and where it lies in the
// rank's memory: element (r, c) of the rectangle at offset + r * stride + c.
struct WeightPiece {
  std::string name;  // "model.layers.3.self_attn.o_proj.weight"
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  std::int64_t first_row = 0;
  std::int64_t first_column = 0;
  std::int64_t piece_rows = 1;
  std::int64_t piece_columns = 1;
  std::int64_t offset = 0;  // from the beginning of the weight
  std::int64_t stride = 1;
  bool vector = false;  // has one dimension in the model: not decayed
  float initial = 1;    // of a vector: a norm's weight is one, a bias zero
  // KV heads that are fewer than the tensor-parallel ranks: so many neighbours hold this piece, and
  // all but the first as a copy.
  int copies = 1;
  bool is_copy = false;
  // Rows [first, first + count) of every `period` are rotated in pairs of neighbours, as Hugging
  // Face's DeepSeek models store them; the portable numbers have first all firsts of the pairs,
  // then all seconds. 0 = no such rows.
  struct Pairs {
    std::int64_t period = 0, first = 0, count = 0;
  } pairs = {};
  // Where files hold it, if that differs (stored_names.h): under another name, with its rows as
  // columns, or as a run of the outputs of a larger tensor.
  struct Stored {
    std::string name;  // "" = as above
    bool transposed = false;
    std::int64_t first_output = 0;
    std::int64_t outputs = 0;  // of the larger tensor; 0 = there is none
  } stored = {};
};
// The row of the portable tensor that is row `row` of the piece's tensor.
std::int64_t portable_row(const WeightPiece& piece, std::int64_t row);

// Over whom the gradient is summed: the replicas that hold the same shard; the same, where the
// tensor-parallel ranks hold copies whose gradients are equal already; replicas and tensor-parallel
// ranks, which see different tokens or heads of what they all hold; or the replicas of an expert.
enum class WeightGroup { Replicas, Copies, Stage, Experts };

struct Weight {
  std::string op;  // the graph op that reads it; a bias: with " bias" behind
  WeightGroup group = WeightGroup::Replicas;
  std::int64_t count = 0;  // elements in memory
  std::vector<WeightPiece> pieces;
};

// Where a rank stands in what divides weights.
struct WeightShard {
  int tp = 1, tp_rank = 0;
  int ep = 1, ep_rank = 0;
  int etp = 1, etp_rank = 0;
  bool sequence_parallel = false;
};

// The weights of a block of layer `layer` (-1: the embedding's, the head's; a
// multi-token-prediction block counts on behind the layers, its head too), in the order of the
// block's ops.
std::vector<Weight> weights_of(BlockKind kind, int layer, const ModelSpec& model,
                               const WeightShard& shard);

}  // namespace narrows

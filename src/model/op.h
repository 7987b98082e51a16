// The vocabulary of work: what one kernel or collective does, with shapes, formats and tensors. The
// same op is timed by `measure`, priced by `cost`, played by `sim` and run by `runtime`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"
#include "model/recipe.h"

namespace narrows {

// An extent that may depend on routing: its mean, and what memory must be ready for. Equal where it
// is exact.
struct Rows {
  double expected = 0;
  double bound = 0;
  friend bool operator==(const Rows&, const Rows&) = default;
};
inline Rows exactly(double n) { return {n, n}; }

// Which gradient pass an op belongs to. Recomputed forward ops keep Direction::Forward.
enum class Direction { Forward, InputGrad, WeightGrad };

enum class OpKind {
  Matmul,        // dense or, with groups > 1, grouped over experts
  Attention,     // the attention core: softmax(q k) v, or its backward
  Norm,          // RMSNorm or LayerNorm, residual addition fused or not
  Rope,          // rotation and assembly of q and k
  ActivationFn,  // SwiGLU or GELU
  Elementwise,   // residual additions, casts, scalings, gradient accumulations
  Quantise,      // to a scaled format, with or without transposition
  Router,        // scores, top-k selection, weights
  Permute,       // tokens to expert order and back, with copies
  Embedding,     // lookup or scatter-add
  Loss,          // softmax cross-entropy over the vocabulary
  Optimizer,     // AdamW over a range of parameters
  Collective     // communication over one axis of the layout
};
std::string to_string(OpKind kind);

// out(m, n) = in(m, k) weight(k, n), `groups` times with m the rows of all groups together.
struct MatmulShape {
  Rows m;
  std::int64_t n = 0;
  std::int64_t k = 0;
  int groups = 1;
  friend bool operator==(const MatmulShape&, const MatmulShape&) = default;
};

struct AttentionShape {
  double batch = 0;  // sequences
  int heads = 0;
  int kv_heads = 0;
  std::int64_t queries = 0;  // tokens of a sequence that attend, evenly spread over it
  std::int64_t keys = 0;  // tokens of the sequence; where causal, a query attends to half of them
  int qk_dim = 0;
  int v_dim = 0;
  bool causal = true;
  int window = 0;  // 0 = none
  friend bool operator==(const AttentionShape&, const AttentionShape&) = default;
};

enum class CollectiveKind {
  AllReduce,
  AllGather,
  ReduceScatter,
  Dispatch,
  Combine,
  AllToAll,
  SendRecv,
  Broadcast
};
std::string to_string(CollectiveKind kind);

// The axes of a layout that ranks communicate along.
enum class Axis { Tp, Cp, Ep, Etp, Dp, DpShard, Edp, Pp };
std::string to_string(Axis axis);

struct CollectiveShape {
  CollectiveKind what = CollectiveKind::AllReduce;
  Axis axis = Axis::Tp;
  // AllReduce, Broadcast, SendRecv: the buffer. AllGather, ReduceScatter: the whole (gathered)
  // buffer. AllToAll: what a rank sends in total. Dispatch, Combine: one token's bytes to one
  // destination.
  Bytes bytes;
  double tokens = 0;  // Dispatch and Combine: tokens of this rank
  friend bool operator==(const CollectiveShape&, const CollectiveShape&) = default;
};

}  // namespace narrows

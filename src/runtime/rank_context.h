// Everything that stays the same for one rank while it trains: the plan and where in its grid the
// rank stands, whom it talks to, its backend and its memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/grid.h"
#include "plan/plan.h"
#include "runtime/backend.h"
#include "runtime/balance.h"
#include "runtime/groups.h"
#include "runtime/op_log.h"
#include "runtime/rotary.h"
#include "runtime/storage.h"
#include "runtime/strands.h"
#include "runtime/weights.h"

namespace narrows {

// What is added to the cross-entropy of the next token.
struct LossWeights {
  double aux = 0;    // of the sequence-wise balance loss of each MoE layer (deepseek2024 §2.1.2)
  double mtp = 0.3;  // of multi-token prediction, mean over depths (deepseek2024 §4.2)
  friend bool operator==(const LossWeights&, const LossWeights&) = default;
};

struct RankContext {
  const Plan& plan;   // borrows
  Numerics numerics;  // the plan's, or the defaults
  Grid grid;
  int rank = 0;
  Coordinates at;
  ExpertCoordinates expert_at;
  Backend& backend;   // borrows
  StoragePool& pool;  // borrows
  Groups groups;
  Rotary rotary;
  Multiply format = Multiply::F32;
  LossWeights loss_weights = {};
  Balance balance = {};
  OpLog* log = nullptr;        // borrows; null: times are not taken
  Strands* strands = nullptr;  // borrows; null: pairs are run one after the other

  const ModelSpec& model() const { return plan.model; }
  const Strategy& strategy() const { return plan.strategy; }
};

Result<RankContext> make_rank_context(const Plan& plan, Backend& backend, StoragePool& pool,
                                      Communicator* world);

// Until what was started has arrived; in a pair the other half computes meanwhile.
Status travel(RankContext& rank, Request request);

WeightShard weight_shard(const RankContext& rank);
// How attention sees the sequence that context parallelism spreads.
ContextExchange context_exchange_of(const Plan& plan);
// How a block's graph is divided on every rank of the plan.
Sharding sharding_of(const Plan& plan);

}  // namespace narrows

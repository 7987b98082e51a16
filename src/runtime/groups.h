// The groups of ranks that one rank talks in, cut out of the world as the plan's grid says. A group
// of one is null: there is nothing to say in it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/result.h"
#include "comm/communicator.h"
#include "model/spec.h"
#include "plan/plan.h"

namespace narrows {

using Group = std::unique_ptr<Communicator>;

struct Groups {
  Communicator* world = nullptr;  // borrows; null where the plan has one rank
  Group tp, cp, ep, etp;
  Group kv;  // the tensor-parallel ranks that hold the same KV head, where there are several
  // The ranks that share out a weight's state (ZeRO), and those that hold the same share: together
  // all that hold the weight (see WeightGroup).
  Group shard, expert_shard;
  Group replicas_across, stage_across, experts_across;
  Group mirror;  // DualPipe: the rank with the same stages
  // The ranks of the pipeline that hold the table of the embedding (with a multi-token-prediction
  // block, the mirror, the head of a tied model), and that of an untied head; null on the others.
  Group embedding, head;
};

// Of a group and of this rank in it; null is this rank alone.
inline int group_size(const Communicator* group) { return group == nullptr ? 1 : group->size(); }
inline int group_rank(const Communicator* group) { return group == nullptr ? 0 : group->rank(); }

// Every rank of the world calls it alike.
Result<Groups> make_groups(const Plan& plan, Communicator* world);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/rank_context.h"

namespace narrows {
namespace {

Multiply format_of(Recipe recipe) {
  if (recipe == Recipe::F32) return Multiply::F32;
  return recipe == Recipe::Fp8Block ? Multiply::Fp8Block : Multiply::Bf16;
}

}  // namespace

Result<RankContext> make_rank_context(const Plan& plan, Backend& backend, StoragePool& pool,
                                      Communicator* world) {
  const Numerics numerics = plan.model.numerics.value_or(Numerics{});
  const Grid grid(plan.strategy);
  const int rank = world == nullptr ? 0 : world->rank();
  return RankContext{.plan = plan,
                     .numerics = numerics,
                     .grid = grid,
                     .rank = rank,
                     .at = grid.coordinates(rank),
                     .expert_at = grid.expert_coordinates(rank),
                     .backend = backend,
                     .pool = pool,
                     .groups = TRY(make_groups(plan, world)),
                     .rotary = TRY(rotary_of(plan.model, plan.training.sequence)),
                     .format = format_of(plan.strategy.precision)};
}

Status travel(RankContext& rank, Request request) {
  if (rank.strands != nullptr && rank.strands->is_running()) {
    const OpPause pause(rank.log);
    rank.strands->yield();
  }
  return request.wait();
}

WeightShard weight_shard(const RankContext& rank) {
  const Strategy& s = rank.strategy();
  return {.tp = s.tp,
          .tp_rank = rank.at.tp,
          .ep = s.ep,
          .ep_rank = rank.expert_at.ep,
          .etp = s.etp,
          .etp_rank = rank.expert_at.etp,
          .sequence_parallel = s.sequence_parallel};
}

ContextExchange context_exchange_of(const Plan& plan) {
  return context_exchange_of(plan.comm.cp).value_or(ContextExchange::AllGather);
}

Sharding sharding_of(const Plan& plan) {
  const Strategy& s = plan.strategy;
  return {.tp = s.tp,
          .sequence_parallel = s.sequence_parallel,
          .cp = s.cp,
          .ep = s.ep,
          .etp = s.etp,
          .micro_batch = s.micro_batch,
          .sequence = plan.training.sequence,
          .context = context_exchange_of(plan)};
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include <fmt/format.h>

#include "plan/validate.h"

namespace narrows {
namespace {

int routes_of(const Strategy& strategy) { return is_mirrored(strategy.schedule) ? 2 : 1; }

struct Place {
  std::size_t rank = 0;
  std::size_t chunk = 0;
};

// Where each stage of the route stands. DualPipe's direction d runs the whole model through every
// rank's chunk d.
std::vector<Place> places_of(const Strategy& strategy, int route) {
  std::vector<Place> places(static_cast<std::size_t>(stages_of(strategy)));
  const bool mirrored = is_mirrored(strategy.schedule);
  const int first = mirrored ? route : 0;
  const int last = mirrored ? route : chunks_per_rank(strategy) - 1;
  for (int rank = 0; rank < strategy.pp; ++rank) {
    for (int chunk = first; chunk <= last; ++chunk) {
      const int stage = stage_of(strategy, rank, chunk);
      places[static_cast<std::size_t>(stage)] = {static_cast<std::size_t>(rank),
                                                 static_cast<std::size_t>(chunk)};
    }
  }
  return places;
}

Status check_counts(const Plan& plan) {
  const Strategy& s = plan.strategy;
  if (static_cast<int>(plan.stages.size()) != s.pp) {
    return invalid(fmt::format("stages: expected {} (pp), found {}", s.pp, plan.stages.size()));
  }
  const std::size_t chunks = static_cast<std::size_t>(chunks_per_rank(s));
  for (std::size_t rank = 0; rank < plan.stages.size(); ++rank) {
    if (plan.stages[rank].chunks.size() != chunks) {
      return invalid(fmt::format("stages[{}].chunks: schedule {} has {} a rank, found {}", rank,
                                 to_string(s.schedule), chunks, plan.stages[rank].chunks.size()));
    }
  }
  return {};
}

Status check_chunk(const Plan& plan, Place at, int expected_first, bool is_last) {
  const Chunk& c = plan.stages[at.rank].chunks[at.chunk];
  const std::string place = fmt::format("stages[{}].chunks[{}]", at.rank, at.chunk);
  const int last_item = plan.model.layers + plan.model.mtp_layers + 1;
  if (c.first != expected_first) {
    return invalid(fmt::format("{}: must begin at item {}, after the stage before it, found {}",
                               place, expected_first, c.first));
  }
  if (c.last < c.first || c.last > last_item) {
    return invalid(fmt::format("{}: expected a last item from {} to {}, found {}", place, c.first,
                               last_item, c.last));
  }
  if (is_last && c.last != last_item) {
    return invalid(
        fmt::format("{}: the last stage must end at item {}, found {}", place, last_item, c.last));
  }
  if (c.recompute == Recompute::V3 && plan.model.attention.kind != AttentionKind::Mla) {
    return invalid(fmt::format("{}: recompute=v3 needs multi-head latent attention", place));
  }
  return {};
}

// On one route the stages follow each other without gap, from the embedding to the head.
Status check_route(const Plan& plan, int route) {
  const std::vector<Place> places = places_of(plan.strategy, route);
  int next = 0;
  for (std::size_t stage = 0; stage < places.size(); ++stage) {
    const Place at = places[stage];
    TRY(check_chunk(plan, at, next, stage + 1 == places.size()));
    next = plan.stages[at.rank].chunks[at.chunk].last + 1;
  }
  return {};
}

// The two directions of DualPipe run the same weights, so they cut the model at the same places.
Status check_mirror(const Plan& plan) {
  for (int rank = 0; rank < plan.strategy.pp; ++rank) {
    const Chunk& there =
        plan.stages[static_cast<std::size_t>(plan.strategy.pp - 1 - rank)].chunks[0];
    const Chunk& here = plan.stages[static_cast<std::size_t>(rank)].chunks[1];
    if (here.first != there.first || here.last != there.last) {
      return invalid(fmt::format(
          "stages[{}].chunks[1]: expected items {} to {} like its mirror rank, found {} to {}",
          rank, there.first, there.last, here.first, here.last));
    }
  }
  return {};
}

// The exchange of context parallelism that the plan names is one that its software has and its
// heads allow.
Status check_context(const Plan& plan) {
  const Strategy& s = plan.strategy;
  if (s.cp == 1 || plan.comm.cp.empty()) return {};
  std::string offered;
  for (const ContextExchange exchange : plan.software.context_parallel) {
    if (!spreads(exchange, plan.model.attention, s.tp, s.cp)) continue;
    if (to_string(exchange) == plan.comm.cp) return {};
    offered += (offered.empty() ? "" : ", ") + to_string(exchange);
  }
  return invalid(
      fmt::format("strategy.comm.cp: expected one of {}, found \"{}\"", offered, plan.comm.cp));
}

}  // namespace

std::vector<Stage> stages_from(const Strategy& strategy, const std::vector<Chunk>& chunks) {
  std::vector<Stage> stages(static_cast<std::size_t>(strategy.pp));
  for (int rank = 0; rank < strategy.pp; ++rank) {
    for (int chunk = 0; chunk < chunks_per_rank(strategy); ++chunk) {
      const int stage = stage_of(strategy, rank, chunk);
      stages[static_cast<std::size_t>(rank)].chunks.push_back(
          chunks.at(static_cast<std::size_t>(stage)));
    }
  }
  return stages;
}

std::vector<Chunk> chunks_of_route(const Plan& plan, int route) {
  std::vector<Chunk> chunks;
  for (const Place at : places_of(plan.strategy, route)) {
    chunks.push_back(plan.stages[at.rank].chunks[at.chunk]);
  }
  return chunks;
}

Status validate(const Plan& plan) {
  TRY(validate(plan.strategy, plan.model, plan.cluster, plan.training, plan.software));
  TRY(check_counts(plan));
  for (int route = 0; route < routes_of(plan.strategy); ++route) TRY(check_route(plan, route));
  if (is_mirrored(plan.strategy.schedule)) TRY(check_mirror(plan));
  return check_context(plan);
}

}  // namespace narrows

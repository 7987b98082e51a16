// SPDX-License-Identifier: Apache-2.0
#include "plan/grid.h"

#include <algorithm>

#include "base/result.h"

namespace narrows {

std::string to_string(ParamClass what) {
  switch (what) {
    case ParamClass::Dense:
      return "dense";
    case ParamClass::Norm:
      return "norm";
    case ParamClass::Expert:
      return "expert";
    case ParamClass::Embedding:
      return "embedding";
    case ParamClass::Head:
      return "head";
  }
  return "";
}

Grid::Grid(const Strategy& strategy)
    : strategy_(strategy),
      ranks_(gpus_of(strategy)),
      stage_(strategy.dp * strategy.cp * strategy.tp),
      run_(strategy.order == AxisOrder::TpCpDpPp ? stage_ : strategy.cp * strategy.tp) {
  ASSERT(stage_ % (strategy.ep * strategy.etp) == 0);
  ASSERT((strategy.dp * strategy.cp) % strategy.dp_shard == 0);
}

int Grid::global(int in_stage, int pp) const {
  return (in_stage / run_ * strategy_.pp + pp) * run_ + in_stage % run_;
}

Coordinates Grid::coordinates(int rank) const {
  Coordinates at;
  at.pp = rank / run_ % strategy_.pp;
  const int in_stage = rank / run_ / strategy_.pp * run_ + rank % run_;
  at.tp = in_stage % strategy_.tp;
  at.cp = in_stage / strategy_.tp % strategy_.cp;
  at.dp = in_stage / strategy_.tp / strategy_.cp;
  return at;
}

int Grid::rank_of(const Coordinates& at) const {
  return global((at.dp * strategy_.cp + at.cp) * strategy_.tp + at.tp, at.pp);
}

ExpertCoordinates Grid::expert_coordinates(int rank) const {
  const int in_stage = rank / run_ / strategy_.pp * run_ + rank % run_;
  return {.etp = in_stage % strategy_.etp,
          .ep = in_stage / strategy_.etp % strategy_.ep,
          .edp = in_stage / strategy_.etp / strategy_.ep,
          .pp = rank / run_ % strategy_.pp};
}

int Grid::rank_of(const ExpertCoordinates& at) const {
  return global((at.edp * strategy_.ep + at.ep) * strategy_.etp + at.etp, at.pp);
}

Grid::Progression Grid::within_stage(Axis axis) const {
  const Strategy& s = strategy_;
  switch (axis) {
    case Axis::Tp:
      return {s.tp, 1};
    case Axis::Cp:
      return {s.cp, s.tp};
    case Axis::Dp:
      return {s.dp, s.tp * s.cp};
    case Axis::DpShard:
      return {s.dp_shard, s.tp};
    case Axis::Etp:
      return {s.etp, 1};
    case Axis::Ep:
      return {s.ep, s.etp};
    case Axis::Edp:
      return {stage_ / (s.ep * s.etp), s.ep * s.etp};
    case Axis::Pp:
      break;
  }
  return {1, 1};
}

int Grid::size(Axis axis) const {
  return axis == Axis::Pp ? strategy_.pp : within_stage(axis).count;
}

int Grid::stride(Axis axis) const {
  if (axis == Axis::Pp) return run_;
  const Progression group = within_stage(axis);
  return group.count > 1 ? global(group.step, 0) : group.step;
}

std::vector<int> Grid::members(Axis axis, int rank) const {
  std::vector<int> found;
  if (axis == Axis::Pp) {
    Coordinates at = coordinates(rank);
    for (at.pp = 0; at.pp < strategy_.pp; ++at.pp) found.push_back(rank_of(at));
    return found;
  }
  const Progression group = within_stage(axis);
  const int in_stage = rank / run_ / strategy_.pp * run_ + rank % run_;
  const int block = group.count * group.step;
  const int first = in_stage / block * block + in_stage % group.step;
  const int pp = rank / run_ % strategy_.pp;
  for (int i = 0; i < group.count; ++i) found.push_back(global(first + i * group.step, pp));
  return found;
}

int Grid::below(const Progression& group, int pp, std::int64_t end) const {
  const std::int64_t period = std::int64_t{run_} * strategy_.pp;
  const std::int64_t rest =
      std::clamp<std::int64_t>(end % period - std::int64_t{pp} * run_, 0, run_);
  const std::int64_t in_stage = end / period * run_ + rest;  // stage ranks below `end`
  return static_cast<int>(
      std::min<std::int64_t>(group.count, (in_stage + group.step - 1) / group.step));
}

Span Grid::span(const Cluster& cluster, Axis axis) const {
  if (axis == Axis::Pp) return span_of(cluster, strategy_.pp, run_);
  const Progression group = within_stage(axis);
  Span span;
  for (const Level& level : cluster.levels) span.inside.push_back(below(group, 0, level.group));
  if (!span.inside.empty()) span.inside.back() = group.count;
  return span;
}

int Grid::expert_shard() const {
  const int block = strategy_.dp_shard * strategy_.tp;
  return std::max(1, block / (strategy_.ep * strategy_.etp));
}

Grid::Progression Grid::replicas(ParamClass what) const {
  if (what == ParamClass::Expert) return within_stage(Axis::Edp);
  if (what == ParamClass::Norm) return {stage_, 1};
  return {strategy_.dp * strategy_.cp, strategy_.tp};
}

bool Grid::has_twin(ParamClass what, const ModelSpec& model) const {
  if (strategy_.pp == 1) return false;
  if (is_mirrored(strategy_.schedule)) return true;
  if (what != ParamClass::Embedding && what != ParamClass::Head) return false;
  // A V ends where it begins; elsewhere the ends stand on the first and the last rank.
  const int last = stage_of(strategy_, 0, chunks_per_rank(strategy_) - 1);
  const bool ends_meet = last == stages_of(strategy_) - 1;
  const bool shared =
      model.tied_embeddings || (what == ParamClass::Embedding && model.mtp_layers > 0);
  return shared && !ends_meet;
}

int Grid::reduction_size(ParamClass what, const ModelSpec& model) const {
  return replicas(what).count * (has_twin(what, model) ? 2 : 1);
}

Span Grid::reduction_span(ParamClass what, const ModelSpec& model, const Cluster& cluster) const {
  const Progression group = replicas(what);
  const bool twin = has_twin(what, model);
  Span span;
  for (const Level& level : cluster.levels) {
    const int far = twin ? below(group, strategy_.pp - 1, level.group) : 0;
    span.inside.push_back(below(group, 0, level.group) + far);
  }
  if (!span.inside.empty()) span.inside.back() = reduction_size(what, model);
  return span;
}

std::vector<int> Grid::reduction_members(ParamClass what, const ModelSpec& model, int pp) const {
  const Progression group = replicas(what);
  std::vector<int> found;
  for (int i = 0; i < group.count; ++i) found.push_back(global(i * group.step, pp));
  if (has_twin(what, model)) {
    for (int i = 0; i < group.count; ++i) {
      found.push_back(global(i * group.step, strategy_.pp - 1 - pp));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace narrows

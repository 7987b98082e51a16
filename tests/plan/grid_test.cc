// The grid against brute force: all small layouts, every rank placed by its definition in words.
// SPDX-License-Identifier: Apache-2.0
#include "plan/grid.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <tuple>
#include <vector>

namespace narrows {
namespace {

constexpr Axis kAxes[] = {Axis::Tp, Axis::Cp,  Axis::Dp,  Axis::DpShard,
                          Axis::Ep, Axis::Etp, Axis::Edp, Axis::Pp};

// All layouts with factors up to 4 that hold, in both orders.
std::vector<Strategy> small_layouts() {
  std::vector<Strategy> all;
  const std::vector<int> sizes = {1, 2, 3, 4};
  for (const int tp : sizes)
    for (const int cp : {1, 2, 3})
      for (const int dp : sizes)
        for (const int pp : sizes)
          for (const int ep : {1, 2, 4, 6})
            for (const int etp : {1, 2, 3})
              for (const int shard : {1, 2, 4})
                for (const AxisOrder order : {AxisOrder::TpCpDpPp, AxisOrder::TpCpPpDp}) {
                  if ((dp * cp * tp) % (ep * etp) != 0 || (dp * cp) % shard != 0) continue;
                  all.push_back({.tp = tp,
                                 .pp = pp,
                                 .ep = ep,
                                 .etp = etp,
                                 .cp = cp,
                                 .dp = dp,
                                 .dp_shard = shard,
                                 .order = order});
                }
  return all;
}

// Ranks in the order of the layout, counted up like an odometer.
std::vector<Coordinates> odometer(const Strategy& s) {
  std::vector<Coordinates> all;
  if (s.order == AxisOrder::TpCpDpPp) {
    for (int pp = 0; pp < s.pp; ++pp)
      for (int dp = 0; dp < s.dp; ++dp)
        for (int cp = 0; cp < s.cp; ++cp)
          for (int tp = 0; tp < s.tp; ++tp) all.push_back({tp, cp, dp, pp});
  } else {
    for (int dp = 0; dp < s.dp; ++dp)
      for (int pp = 0; pp < s.pp; ++pp)
        for (int cp = 0; cp < s.cp; ++cp)
          for (int tp = 0; tp < s.tp; ++tp) all.push_back({tp, cp, dp, pp});
  }
  return all;
}

// The groups of an axis by definition: ranks that agree in all but that axis' coordinate.
std::set<std::vector<int>> groups(const Strategy& s, Axis axis) {
  const std::vector<Coordinates> places = odometer(s);
  std::map<std::tuple<int, int, int, int>, std::vector<int>> found;
  for (int rank = 0; rank < static_cast<int>(places.size()); ++rank) {
    const Coordinates& at = places[static_cast<std::size_t>(rank)];
    const int in_stage = (at.dp * s.cp + at.cp) * s.tp + at.tp;
    const int etp = in_stage % s.etp;
    const int ep = in_stage / s.etp % s.ep;
    const int edp = in_stage / (s.etp * s.ep);
    const int replica = at.dp * s.cp + at.cp;
    std::tuple<int, int, int, int> key;
    switch (axis) {
      case Axis::Tp:
        key = {-1, at.cp, at.dp, at.pp};
        break;
      case Axis::Cp:
        key = {at.tp, -1, at.dp, at.pp};
        break;
      case Axis::Dp:
        key = {at.tp, at.cp, -1, at.pp};
        break;
      case Axis::DpShard:
        key = {at.tp, replica / s.dp_shard, -1, at.pp};
        break;
      case Axis::Etp:
        key = {-1, ep, edp, at.pp};
        break;
      case Axis::Ep:
        key = {etp, -1, edp, at.pp};
        break;
      case Axis::Edp:
        key = {etp, ep, -1, at.pp};
        break;
      case Axis::Pp:
        key = {at.tp, at.cp, at.dp, -1};
        break;
    }
    found[key].push_back(rank);
  }
  std::set<std::vector<int>> all;
  for (const auto& [key, ranks] : found) all.insert(ranks);
  return all;
}

// Two GPUs a level, then four, then all.
Cluster small_cluster(int gpus) {
  Cluster cluster;
  cluster.gpus = gpus;
  for (const int group : {2, 4, 12, 1 << 20}) {
    Level level;
    level.group = std::min(group, gpus);
    cluster.levels.push_back(level);
  }
  return cluster;
}

// How many of `ranks` lie in the first group of each level, by counting.
Span counted(const Cluster& cluster, const std::vector<int>& ranks) {
  Span span;
  for (const Level& level : cluster.levels) {
    const auto inside = [&](int rank) { return rank < level.group; };
    span.inside.push_back(static_cast<int>(std::count_if(ranks.begin(), ranks.end(), inside)));
  }
  return span;
}

ModelSpec plain_model() {
  ModelSpec model;
  model.layers = 8;
  return model;
}

}  // namespace

TEST_CASE("grid: ranks and coordinates are each other's inverse, in the order of the layout") {
  for (const Strategy& s : small_layouts()) {
    const Grid grid(s);
    const std::vector<Coordinates> places = odometer(s);
    REQUIRE(grid.ranks() == static_cast<int>(places.size()));
    for (int rank = 0; rank < grid.ranks(); ++rank) {
      REQUIRE(grid.coordinates(rank) == places[static_cast<std::size_t>(rank)]);
      REQUIRE(grid.rank_of(grid.coordinates(rank)) == rank);
      REQUIRE(grid.rank_of(grid.expert_coordinates(rank)) == rank);
    }
  }
}

TEST_CASE("grid: on every axis every rank is in exactly one group, the one of the definition") {
  for (const Strategy& s : small_layouts()) {
    const Grid grid(s);
    for (const Axis axis : kAxes) {
      std::set<std::vector<int>> found;
      std::size_t members = 0;
      for (int rank = 0; rank < grid.ranks(); ++rank) {
        const std::vector<int> group = grid.members(axis, rank);
        REQUIRE(static_cast<int>(group.size()) == grid.size(axis));
        REQUIRE(std::find(group.begin(), group.end(), rank) != group.end());
        if (found.insert(group).second) members += group.size();
      }
      REQUIRE(members == static_cast<std::size_t>(grid.ranks()));
      REQUIRE(found == groups(s, axis));
    }
  }
}

TEST_CASE("grid: sizes multiply to the GPUs, plain and refolded for experts") {
  for (const Strategy& s : small_layouts()) {
    const Grid grid(s);
    const int pp = grid.size(Axis::Pp);
    REQUIRE(grid.size(Axis::Tp) * grid.size(Axis::Cp) * grid.size(Axis::Dp) * pp == grid.ranks());
    REQUIRE(grid.size(Axis::Etp) * grid.size(Axis::Ep) * grid.size(Axis::Edp) * pp == grid.ranks());
  }
}

TEST_CASE("grid: size and stride describe the first group wherever it is evenly spaced") {
  for (const Strategy& s : small_layouts()) {
    const Grid grid(s);
    for (const Axis axis : kAxes) {
      const std::vector<int> group = grid.members(axis, 0);
      if (group.size() > 1) REQUIRE(group[1] - group[0] == grid.stride(axis));
    }
  }
}

TEST_CASE("grid: the span of an axis counts the members inside each level") {
  for (const Strategy& s : small_layouts()) {
    const Grid grid(s);
    const Cluster cluster = small_cluster(grid.ranks());
    for (const Axis axis : kAxes)
      REQUIRE(grid.span(cluster, axis) == counted(cluster, grid.members(axis, 0)));
  }
}

TEST_CASE("grid: where a group is evenly spaced its span is span_of's") {
  for (const Strategy& s : small_layouts()) {
    const Grid grid(s);
    const Cluster cluster = small_cluster(grid.ranks());
    for (const Axis axis : kAxes) {
      const std::vector<int> group = grid.members(axis, 0);
      bool even = true;
      for (std::size_t i = 0; i < group.size(); ++i) {
        even = even && group[i] == static_cast<int>(i) * grid.stride(axis);
      }
      if (even)
        REQUIRE(grid.span(cluster, axis) == span_of(cluster, grid.size(axis), grid.stride(axis)));
    }
  }
}

TEST_CASE("grid: a reduction group holds all ranks with the same piece of the parameter") {
  const ModelSpec model = plain_model();
  for (Strategy s : small_layouts()) {
    for (const ScheduleKind schedule : {ScheduleKind::OneFOneB, ScheduleKind::DualPipe}) {
      if (schedule == ScheduleKind::DualPipe && s.pp % 2 != 0) continue;
      s.schedule = schedule;
      const Grid grid(s);
      const Cluster cluster = small_cluster(grid.ranks());
      std::vector<int> dense, norm, expert;
      for (int rank = 0; rank < grid.ranks(); ++rank) {
        const Coordinates at = grid.coordinates(rank);
        const bool holds = at.pp == 0 || (schedule == ScheduleKind::DualPipe && at.pp == s.pp - 1);
        if (!holds) continue;
        norm.push_back(rank);
        if (at.tp == 0) dense.push_back(rank);
        const ExpertCoordinates e = grid.expert_coordinates(rank);
        if (e.ep == 0 && e.etp == 0) expert.push_back(rank);
      }
      const std::pair<ParamClass, std::vector<int>> expected[] = {
          {ParamClass::Dense, dense}, {ParamClass::Norm, norm}, {ParamClass::Expert, expert}};
      for (const auto& [what, ranks] : expected) {
        REQUIRE(grid.reduction_members(what, model, 0) == ranks);
        REQUIRE(grid.reduction_size(what, model) == static_cast<int>(ranks.size()));
        REQUIRE(grid.reduction_span(what, model, cluster) == counted(cluster, ranks));
      }
    }
  }
}

TEST_CASE(
    "grid: V3's published layout reduces dense parameters over 256 ranks and experts over 4") {
  const Strategy v3{.pp = 16,
                    .ep = 64,
                    .dp = 128,
                    .dp_shard = 128,
                    .zero = 1,
                    .schedule = ScheduleKind::DualPipe};
  const Grid grid(v3);
  CHECK(grid.ranks() == 2048);
  CHECK(grid.reduction_size(ParamClass::Dense, plain_model()) == 256);
  CHECK(grid.reduction_size(ParamClass::Expert, plain_model()) == 4);
  CHECK(grid.expert_shard() == 2);
  CHECK(grid.reduction_members(ParamClass::Expert, plain_model(), 0) ==
        std::vector<int>{0, 64, 1920, 1984});
}

TEST_CASE("grid: tied embeddings double their group where the ends stand on two ranks") {
  ModelSpec tied = plain_model();
  tied.tied_embeddings = true;
  Strategy s{.tp = 2, .pp = 4, .dp = 2};
  CHECK(Grid(s).reduction_size(ParamClass::Embedding, plain_model()) == 2);
  CHECK(Grid(s).reduction_size(ParamClass::Embedding, tied) == 4);
  CHECK(Grid(s).reduction_members(ParamClass::Head, tied, 3) == std::vector<int>{0, 2, 12, 14});
  s.schedule = ScheduleKind::DualPipeV;  // both ends on the first rank
  CHECK(Grid(s).reduction_size(ParamClass::Embedding, tied) == 2);
  s.schedule = ScheduleKind::Interleaved;
  s.vpp = 2;
  CHECK(Grid(s).reduction_size(ParamClass::Head, tied) == 4);
  s = Strategy{.tp = 2, .dp = 2};
  CHECK(Grid(s).reduction_size(ParamClass::Embedding, tied) == 2);
}

TEST_CASE("grid: an MTP block beside the head needs the embedding there too") {
  ModelSpec mtp = plain_model();
  mtp.mtp_layers = 1;
  const Grid grid(Strategy{.pp = 4, .dp = 2});
  CHECK(grid.reduction_size(ParamClass::Embedding, mtp) == 4);
  CHECK(grid.reduction_size(ParamClass::Head, mtp) == 2);
}

TEST_CASE("grid: experts shard over the part of edp inside a shard block") {
  CHECK(Grid(Strategy{.ep = 8, .dp = 32, .dp_shard = 32}).expert_shard() == 4);
  CHECK(Grid(Strategy{.ep = 8, .dp = 32, .dp_shard = 16}).expert_shard() == 2);
  CHECK(Grid(Strategy{.ep = 8, .dp = 32, .dp_shard = 4}).expert_shard() == 1);
}

TEST_CASE("stages: chunks stand where the schedules put them") {
  const auto stages = [](const Strategy& s) {
    std::vector<std::vector<int>> all;
    for (int rank = 0; rank < s.pp; ++rank) {
      all.emplace_back();
      for (int chunk = 0; chunk < chunks_per_rank(s); ++chunk)
        all.back().push_back(stage_of(s, rank, chunk));
    }
    return all;
  };
  using Stages = std::vector<std::vector<int>>;
  CHECK(stages({.pp = 3}) == Stages{{0}, {1}, {2}});
  CHECK(stages({.pp = 2, .vpp = 3, .schedule = ScheduleKind::Interleaved}) ==
        Stages{{0, 2, 4}, {1, 3, 5}});
  CHECK(stages({.pp = 4, .schedule = ScheduleKind::DualPipe}) ==
        Stages{{0, 3}, {1, 2}, {2, 1}, {3, 0}});
  CHECK(stages({.pp = 2, .schedule = ScheduleKind::DualPipeV}) == Stages{{0, 3}, {1, 2}});
  CHECK(stages({.pp = 2, .schedule = ScheduleKind::ZbV}) == Stages{{0, 3}, {1, 2}});
}

}  // namespace narrows

// The grid: which rank stands where in a layout, and who communicates with whom. GPUs = pp * dp *
// cp * tp, tp innermost; `order` puts pipeline outside or inside data parallelism. The dp * cp * tp
// ranks of one stage are refolded for experts as edp * ep * etp, etp innermost (parallel folding,
// as in Megatron-Core), so that ep and etp need not divide dp or tp.
//
// Everything is closed form, since the enumeration asks for spans: a group within a stage is an
// arithmetic progression in the stage's own numbering, and that numbering is monotone in the global
// rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "hardware/cluster.h"
#include "model/op.h"
#include "model/spec.h"
#include "plan/strategy.h"

namespace narrows {

struct Coordinates {
  int tp = 0;
  int cp = 0;
  int dp = 0;
  int pp = 0;
  friend bool operator==(const Coordinates&, const Coordinates&) = default;
};

// The same rank in the expert refold of its stage.
struct ExpertCoordinates {
  int etp = 0;
  int ep = 0;
  int edp = 0;
  int pp = 0;
  friend bool operator==(const ExpertCoordinates&, const ExpertCoordinates&) = default;
};

// Parameters whose gradients are reduced over the same ranks. Dense: attention and FFN matrices,
// split over tp. Norm: what every tp rank holds whole (norms, biases, router). Expert: routed
// experts. Embedding and head: split over tp.
enum class ParamClass { Dense, Norm, Expert, Embedding, Head };
std::string to_string(ParamClass what);

class Grid {
 public:
  // The strategy's products must hold (rules of validate.h): ep * etp divides dp * cp * tp,
  // dp_shard divides dp * cp.
  explicit Grid(const Strategy& strategy);

  int ranks() const { return ranks_; }
  int ranks_of_stage() const { return stage_; }
  Coordinates coordinates(int rank) const;
  int rank_of(const Coordinates& at) const;
  ExpertCoordinates expert_coordinates(int rank) const;
  int rank_of(const ExpertCoordinates& at) const;

  // Members of every group of the axis, and how far apart the first two are.
  int size(Axis axis) const;
  int stride(Axis axis) const;
  // The group of the axis that `rank` is in, ascending.
  std::vector<int> members(Axis axis, int rank) const;
  // How the first rank's group lies on the cluster's levels; equals span_of wherever the group is
  // evenly spaced.
  Span span(const Cluster& cluster, Axis axis) const;

  // Over how many ranks ZeRO shards an expert's state: the part of edp inside a dp_shard block of
  // ranks.
  int expert_shard() const;

  // All ranks that hold the same piece of a parameter of this class: replicas of the batch,
  // DualPipe's mirror, and for tied ends or MTP blocks (which share embedding and head) both ends
  // of the pipeline.
  int reduction_size(ParamClass what, const ModelSpec& model) const;
  Span reduction_span(ParamClass what, const ModelSpec& model, const Cluster& cluster) const;
  // The same group as ranks, for the first rank of pipeline rank `pp`. Embedding and head: `pp`
  // must hold them.
  std::vector<int> reduction_members(ParamClass what, const ModelSpec& model, int pp) const;

 private:
  // Ranks `step` apart in the stage's numbering, `count` of them, beginning at its first rank.
  struct Progression {
    int count = 1;
    int step = 1;
  };
  Progression within_stage(Axis axis) const;
  Progression replicas(ParamClass what) const;
  int global(int in_stage, int pp) const;
  // How many of the progression's members in stage `pp` are global ranks below `end`.
  int below(const Progression& group, int pp, std::int64_t end) const;
  // Whether a second pipeline rank holds the class's parameters too.
  bool has_twin(ParamClass what, const ModelSpec& model) const;

  Strategy strategy_;
  int ranks_ = 1;
  int stage_ = 1;  // ranks of a stage
  int run_ = 1;    // of which so many in a row are neighbours in the global numbering
};

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/groups.h"

#include <algorithm>

#include "plan/grid.h"

namespace narrows {
namespace {

// Cuts groups out of the world, given each one's members; ranks agree on a group by its first
// member.
class Cutter {
 public:
  explicit Cutter(Communicator& world) : world_(world) {}

  Result<Group> cut(const std::vector<int>& members, const std::string& algorithm = "") {
    const bool alone = members.size() < 2;
    Group group = TRY(world_.split(alone ? -1 : members.front(), world_.rank()));
    if (group != nullptr) group->use(TRY(algorithm_of(algorithm)));
    return group;
  }

 private:
  Communicator& world_;
};

// Those of `members` whose place differs from this rank's by a multiple of `step`, or that are in
// its run of `step`.
std::vector<int> run_of(const std::vector<int>& members, int rank, int step) {
  const auto place = std::find(members.begin(), members.end(), rank) - members.begin();
  const auto first = members.begin() + place / step * step;
  return {first, first + step};
}
std::vector<int> every(const std::vector<int>& members, int rank, int step) {
  const auto place = std::find(members.begin(), members.end(), rank) - members.begin();
  std::vector<int> found;
  for (std::size_t i = static_cast<std::size_t>(place % step); i < members.size();
       i += static_cast<std::size_t>(step)) {
    found.push_back(members[i]);
  }
  return found;
}

struct Members {
  std::vector<int> replicas, stage, experts;
};
Members members_of(const Grid& grid, const Strategy& s, int rank) {
  Members m;
  Coordinates at = grid.coordinates(rank);
  const int tp = at.tp;
  for (at.dp = 0; at.dp < s.dp; ++at.dp) {
    for (at.cp = 0; at.cp < s.cp; ++at.cp) {
      for (at.tp = 0; at.tp < s.tp; ++at.tp) {
        m.stage.push_back(grid.rank_of(at));
        if (at.tp == tp) m.replicas.push_back(m.stage.back());
      }
    }
  }
  m.experts = grid.members(Axis::Edp, rank);
  return m;
}

}  // namespace

Result<Groups> make_groups(const Plan& plan, Communicator* world) {
  Groups g;
  g.world = world;
  if (world == nullptr) return g;
  const Strategy& s = plan.strategy;
  const Grid grid(s);
  const int rank = world->rank();
  Cutter cutter(*world);
  g.tp = TRY(cutter.cut(grid.members(Axis::Tp, rank), plan.comm.tp));
  g.cp = TRY(cutter.cut(grid.members(Axis::Cp, rank), plan.comm.cp));
  g.ep = TRY(cutter.cut(grid.members(Axis::Ep, rank), plan.comm.ep));
  g.etp = TRY(cutter.cut(grid.members(Axis::Etp, rank)));
  const Members m = members_of(grid, s, rank);
  g.replicas = TRY(cutter.cut(m.replicas, plan.comm.dp));
  g.stage = TRY(cutter.cut(m.stage, plan.comm.dp));
  g.experts = TRY(cutter.cut(m.experts, plan.comm.dp));
  const int expert_shard = grid.expert_shard();
  const std::vector<int> shard = run_of(m.replicas, rank, s.dp_shard);
  g.shard = TRY(cutter.cut(shard, plan.comm.dp));
  g.expert_shard = TRY(cutter.cut(run_of(m.experts, rank, expert_shard), plan.comm.dp));
  g.replicas_across = TRY(cutter.cut(every(m.replicas, rank, s.dp_shard), plan.comm.dp));
  g.experts_across = TRY(cutter.cut(every(m.experts, rank, expert_shard), plan.comm.dp));
  Coordinates at = grid.coordinates(rank);
  at.pp = s.pp - 1 - at.pp;
  const int opposite = grid.rank_of(at);
  const std::vector<int> pair = {std::min(rank, opposite), std::max(rank, opposite)};
  const bool mirrored = is_mirrored(s.schedule) && opposite != rank;
  g.mirror = TRY(cutter.cut(mirrored ? pair : std::vector<int>{rank}));
  const bool end = at.pp == 0 || at.pp == s.pp - 1;
  const bool tied =
      plan.model.tied_embeddings && end && opposite != rank && !mirrored && chunks_per_rank(s) != 2;
  g.ends = TRY(cutter.cut(tied ? pair : std::vector<int>{rank}));
  return g;
}

}  // namespace narrows

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

// Dispatchers, by which plans name the way to the experts, as algorithms of an all-to-all.
std::string algorithm_of_dispatcher(const std::string& name) {
  if (name == "all-to-all" || name == "all-gather") return "direct";
  return name == "deepep" ? "two-hop" : name;
}

// All ranks of `rank`'s stage, in the stage's own order: tensor-parallel neighbours together.
std::vector<int> stage_members(const Grid& grid, const Strategy& s, int rank) {
  std::vector<int> members;
  Coordinates at = grid.coordinates(rank);
  for (at.dp = 0; at.dp < s.dp; ++at.dp) {
    for (at.cp = 0; at.cp < s.cp; ++at.cp) {
      for (at.tp = 0; at.tp < s.tp; ++at.tp) members.push_back(grid.rank_of(at));
    }
  }
  return members;
}

// Those for which `same` holds of their place and this rank's.
template <typename Same>
std::vector<int> those(const std::vector<int>& members, int rank, const Same& same) {
  const auto mine = std::find(members.begin(), members.end(), rank) - members.begin();
  std::vector<int> found;
  for (std::ptrdiff_t i = 0; i < std::ssize(members); ++i) {
    if (same(i, mine)) found.push_back(members[static_cast<std::size_t>(i)]);
  }
  return found;
}

// Places in a list that is shared out in runs of `size`: in the same run, or with the same share.
auto in_run(int size) {
  return [size](std::ptrdiff_t a, std::ptrdiff_t b) { return a / size == b / size; };
}
auto with_share(int size) {
  return [size](std::ptrdiff_t a, std::ptrdiff_t b) { return a % size == b % size; };
}

// The table of a vocabulary.
enum class Table { Embedding, Head };

bool uses(ItemKind item, Table table, bool tied) {
  if (item == ItemKind::MtpBlock) return table == Table::Embedding || !tied;
  if (table == Table::Head) return item == ItemKind::Head && !tied;
  return item == ItemKind::Embedding || (item == ItemKind::Head && tied);
}

// The ranks at the same place of their stages whose chunks read the table; this rank alone if it is
// not among them.
std::vector<int> table_members(const Plan& plan, const Grid& grid, int rank, Table table) {
  const std::vector<ItemKind> items = items_of(plan.model);
  std::vector<int> members;
  Coordinates at = grid.coordinates(rank);
  const int mine = at.pp;
  bool found = false;
  for (at.pp = 0; at.pp < plan.strategy.pp; ++at.pp) {
    bool holds = false;
    for (const Chunk& chunk : plan.stages[static_cast<std::size_t>(at.pp)].chunks) {
      for (int i = chunk.first; i <= chunk.last; ++i) {
        holds =
            holds || uses(items[static_cast<std::size_t>(i)], table, plan.model.tied_embeddings);
      }
    }
    if (holds) members.push_back(grid.rank_of(at));
    found = found || (holds && at.pp == mine);
  }
  return found ? members : std::vector<int>{rank};
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
  const AttentionSpec& attention = plan.model.attention;
  const bool grouped = attention.kind == AttentionKind::Gqa;
  const int copies = grouped ? std::max(1, s.tp / attention.kv_heads) : 1;
  g.kv = TRY(cutter.cut(those(grid.members(Axis::Tp, rank), rank, in_run(copies)), plan.comm.tp));
  g.cp = TRY(cutter.cut(grid.members(Axis::Cp, rank)));
  g.ep = TRY(cutter.cut(grid.members(Axis::Ep, rank), algorithm_of_dispatcher(plan.comm.ep)));
  g.etp = TRY(cutter.cut(grid.members(Axis::Etp, rank)));
  const std::vector<int> stage = stage_members(grid, s, rank);
  const std::vector<int> replicas = those(stage, rank, with_share(s.tp));
  const std::vector<int> experts = grid.members(Axis::Edp, rank);
  const int expert_shard = s.zero > 0 ? grid.expert_shard() : 1;
  const std::string& dp = plan.comm.dp;
  g.shard = TRY(cutter.cut(those(replicas, rank, in_run(s.dp_shard)), dp));
  g.expert_shard = TRY(cutter.cut(those(experts, rank, in_run(expert_shard)), dp));
  g.replicas_across = TRY(cutter.cut(those(replicas, rank, with_share(s.dp_shard)), dp));
  g.experts_across = TRY(cutter.cut(those(experts, rank, with_share(expert_shard)), dp));
  const auto same_share = [&](std::ptrdiff_t a, std::ptrdiff_t b) {
    return a / s.tp % s.dp_shard == b / s.tp % s.dp_shard;
  };
  g.stage_across = TRY(cutter.cut(those(stage, rank, same_share), dp));

  Coordinates at = grid.coordinates(rank);
  at.pp = s.pp - 1 - at.pp;
  const int opposite = grid.rank_of(at);
  const std::vector<int> alone = {rank};
  const std::vector<int> pair = {std::min(rank, opposite), std::max(rank, opposite)};
  const bool mirrored = is_mirrored(s.schedule) && opposite != rank;
  g.mirror = TRY(cutter.cut(mirrored ? pair : alone));
  g.embedding = TRY(cutter.cut(table_members(plan, grid, rank, Table::Embedding)));
  g.head = TRY(cutter.cut(table_members(plan, grid, rank, Table::Head)));
  return g;
}

}  // namespace narrows

// A collective as a program: what one rank sends, receives, combines and copies, in rounds.
// Programs are pure functions of the group's size, the rank and the counts, so that they can be
// tested without ranks and run on any transport. Within a round the local steps come first, then
// all messages are under way at once; a round ends when they are done. Received pieces are combined
// in the order of the steps, never in the order of arrival: sums are the same in every run.
//
// Ring: patarasuk2009. Binomial tree, dissemination barrier: thakur2005, hensgen1988.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace narrows {

// By which algorithm a collective runs. Direct: every member exchanges its share with every other
// (the fewest copies in shared memory). Ring: neighbours only; all_to_all by pairs, one a round.
// Tree: binomial, for few bytes (all_reduce and broadcast; the others as Direct). Hierarchical:
// within the innermost level of links, then between its groups, one share a member; where nodes
// hold unequal numbers of members, as Ring. TwoHop: all_to_all first to the receiver's node, then
// within it; the others as Hierarchical.
enum class Algorithm { Direct, Ring, Tree, Hierarchical, TwoHop };
std::string to_string(Algorithm algorithm);
// By the plan's name; "" is Direct, and so are the exchanges "all-to-all" and "all-gather";
// "deepep" is TwoHop. InvalidInput names the algorithms.
Result<Algorithm> algorithm_of(std::string_view name);

// Where a step reads or writes: the caller's buffers, or memory of the verb itself.
enum class CommSpace { In, Out, Scratch };
struct Region {
  CommSpace space = CommSpace::Out;
  std::int64_t offset = 0;  // elements
  std::int64_t count = 0;
  friend bool operator==(const Region&, const Region&) = default;
};

struct Step {
  // Copy: to = from. Combine: to = to + from. Send: from, to `peer`. Receive: to, from `peer`.
  // Reduce: to = from + what `peer` sends. Join: to = to + that, and what `peer` sent is
  // overwritten with the sum, where its memory is at hand.
  enum class Kind { Copy, Combine, Send, Receive, Reduce, Join };
  Kind kind = Kind::Copy;
  int peer = -1;
  Region from;
  Region to;
  friend bool operator==(const Step&, const Step&) = default;
};

struct CommProgram {
  std::vector<Step> steps;
  std::vector<std::size_t> rounds;  // where each ends in `steps`
  std::int64_t scratch = 0;         // elements
};

// Which members of a group share the innermost level of links: their ranks, node by node.
struct Hierarchy {
  std::vector<std::vector<int>> nodes;
  std::vector<int> node_of;   // of each rank
  std::vector<int> local_of;  // its place within the node
  bool is_even = true;        // all nodes hold equally many
};
// From the world ranks of the members and how many neighbouring world ranks share a node.
Hierarchy hierarchy_of(std::span<const int> members, int per_node);

// Who runs what.
struct Site {
  int rank = 0;
  int size = 1;
  const Hierarchy* nodes = nullptr;  // borrows
  Algorithm algorithm = Algorithm::Direct;
  bool shares_memory = false;  // a receiver may write to what a sender offers
};

// The verbs of communicator.h. Pieces lie one after another, `counts` elements each.
CommProgram all_reduce_program(const Site& site, std::int64_t count, std::size_t bytes_each);
CommProgram reduce_scatter_program(const Site& site, std::span<const std::int64_t> counts);
CommProgram all_gather_program(const Site& site, std::span<const std::int64_t> counts);
CommProgram all_to_all_program(const Site& site, std::span<const std::int64_t> sent,
                               std::span<const std::int64_t> received);
// TwoHop over even nodes, which all_to_all_program does not do: two_hop.h.
bool is_two_hop(const Site& site);
CommProgram broadcast_program(const Site& site, int root, std::int64_t count);
CommProgram barrier_program(const Site& site);

}  // namespace narrows

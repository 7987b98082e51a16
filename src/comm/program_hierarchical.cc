// SPDX-License-Identifier: Apache-2.0
#include "comm/program_builder.h"

namespace narrows {
namespace {

// A rank is (node, local): its mates are the ranks of its node, its column those with its local
// index in all nodes. Mates and column lists begin at the rank itself, so that not all talk to the
// first at once.
struct Place {
  explicit Place(const Site& s) : site(s) {
    const std::size_t at = static_cast<std::size_t>(s.rank);
    node = s.nodes->node_of[at];
    local = s.nodes->local_of[at];
  }
  int nodes() const { return static_cast<int>(site.nodes->nodes.size()); }
  int locals() const { return static_cast<int>(site.nodes->nodes.front().size()); }
  int rank_of(int n, int l) const {
    return site.nodes->nodes[static_cast<std::size_t>(n)][static_cast<std::size_t>(l)];
  }
  int mate(int i) const { return (local + i) % locals(); }
  int other(int i) const { return (node + i) % nodes(); }

  const Site& site;
  int node = 0;
  int local = 0;
};

}  // namespace

// Reduce-scatter within the node, all-reduce of the share over the column, all-gather within.
CommProgram hierarchical_all_reduce(const Site& site, std::int64_t count) {
  const Place at(site);
  ProgramBuilder build;
  const Pieces share = Pieces::equal(CommSpace::Out, count, at.locals());
  const Region own = share[at.local];
  for (int i = 1; i < at.locals(); ++i) {
    build.send(at.rank_of(at.node, at.mate(i)), share[at.mate(i)]);
  }
  for (int i = 1; i < at.locals(); ++i) build.reduce(at.rank_of(at.node, at.mate(i)), own);
  build.end_round();
  const Pieces part = Pieces::equal(CommSpace::Out, own.count, at.nodes());
  const auto part_of = [&](int node) {
    return Region{CommSpace::Out, own.offset + part[node].offset, part[node].count};
  };
  for (int i = 1; i < at.nodes(); ++i) {
    build.send(at.rank_of(at.other(i), at.local), part_of(at.other(i)));
  }
  for (int i = 1; i < at.nodes(); ++i) {
    build.reduce(at.rank_of(at.other(i), at.local), part_of(at.node));
  }
  build.end_round();
  for (int i = 1; i < at.nodes(); ++i) {
    build.send(at.rank_of(at.other(i), at.local), part_of(at.node));
    build.receive(at.rank_of(at.other(i), at.local), part_of(at.other(i)));
  }
  build.end_round();
  for (int i = 1; i < at.locals(); ++i) {
    build.send(at.rank_of(at.node, at.mate(i)), own);
    build.receive(at.rank_of(at.node, at.mate(i)), share[at.mate(i)]);
  }
  return build.finish();
}

// Within the node each rank sums what the node has for its column; then over the column.
CommProgram hierarchical_reduce_scatter(const Site& site, std::span<const std::int64_t> counts) {
  const Place at(site);
  ProgramBuilder build;
  const Pieces in(CommSpace::In, counts);
  for (int i = 1; i < at.locals(); ++i) {
    const int mate = at.rank_of(at.node, at.mate(i));
    for (int n = 0; n < at.nodes(); ++n) {
      build.send(mate, in[at.rank_of(n, at.mate(i))]);
      build.reduce(mate, in[at.rank_of(n, at.local)]);
    }
  }
  build.end_round();
  for (int i = 1; i < at.nodes(); ++i) {
    const int peer = at.rank_of(at.other(i), at.local);
    build.send(peer, in[peer]);
    build.reduce(peer, in[site.rank]);
  }
  build.end_round();
  build.copy(in[site.rank], {CommSpace::Out, 0, in[site.rank].count});
  return build.finish();
}

// Over the column first, so that each piece crosses between two nodes once; then within the node.
CommProgram hierarchical_all_gather(const Site& site, std::span<const std::int64_t> counts) {
  const Place at(site);
  ProgramBuilder build;
  const Pieces out(CommSpace::Out, counts);
  build.copy({CommSpace::In, 0, out[site.rank].count}, out[site.rank]);
  for (int i = 1; i < at.nodes(); ++i) {
    const int peer = at.rank_of(at.other(i), at.local);
    build.send(peer, out[site.rank]);
    build.receive(peer, out[peer]);
  }
  build.end_round();
  for (int i = 1; i < at.locals(); ++i) {
    const int mate = at.rank_of(at.node, at.mate(i));
    for (int n = 0; n < at.nodes(); ++n) {
      build.send(mate, out[at.rank_of(n, at.local)]);
      build.receive(mate, out[at.rank_of(n, at.mate(i))]);
    }
  }
  return build.finish();
}

// The root sends to its column, and everyone of the column to the mates.
CommProgram hierarchical_broadcast(const Site& site, int root, std::int64_t count) {
  const Place at(site);
  const Region data{CommSpace::Out, 0, count};
  const std::size_t from = static_cast<std::size_t>(root);
  const int root_node = site.nodes->node_of[from];
  const int column = site.nodes->local_of[from];
  ProgramBuilder build;
  if (at.local != column) {
    build.receive(at.rank_of(at.node, column), data);
    return build.finish();
  }
  if (at.node != root_node) build.receive(root, data);
  build.end_round();
  for (int i = 1; site.rank == root && i < at.nodes(); ++i) {
    build.send(at.rank_of(at.other(i), at.local), data);
  }
  for (int i = 1; i < at.locals(); ++i) build.send(at.rank_of(at.node, at.mate(i)), data);
  return build.finish();
}

}  // namespace narrows

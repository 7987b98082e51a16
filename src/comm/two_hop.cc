// SPDX-License-Identifier: Apache-2.0
#include "comm/two_hop.h"

#include "comm/program_builder.h"

namespace narrows {
namespace {

class TwoHop {
 public:
  TwoHop(const Operation& operation, const Site& site, std::span<const std::int64_t> sent,
         std::span<const std::int64_t> received)
      : site_(site),
        in_(CommSpace::In, sent),
        out_(CommSpace::Out, received),
        element_(operation.element),
        data_in_(operation.in),
        data_out_(operation.out) {
    const std::size_t at = static_cast<std::size_t>(site.rank);
    node_ = site.nodes->node_of[at];
    local_ = site.nodes->local_of[at];
    // asked_[n][l]: what this rank sends to rank (n, l). told_[n][l]: what rank (n, own local)
    // sends to (own node, l).
    for (int n = 0; n < nodes(); ++n) {
      for (int l = 0; l < locals(); ++l) asked_.push_back(sent[rank_of(n, l)]);
    }
    told_.resize(asked_.size());
  }

  // The first program: counts to and from the column, as bytes.
  void begin(Operation& operation) {
    ProgramBuilder build;
    for (int i = 1; i < nodes(); ++i) {
      const int n = (node_ + i) % nodes();
      build.send(peer(n, local_), count_region(CommSpace::In, n));
      build.receive(peer(n, local_), count_region(CommSpace::Out, n));
    }
    operation.element = Element::Byte;
    operation.in = asked_.data();
    operation.out = told_.data();
    operation.program = build.finish();
  }

  // The second: data to the column, then within the node.
  void go_on(Operation& operation) {
    ProgramBuilder build;
    first_hop(build);
    build.end_round();
    second_hop(build);
    operation.element = element_;
    operation.in = data_in_;
    operation.out = data_out_;
    operation.program = build.finish();
  }

 private:
  int nodes() const { return static_cast<int>(site_.nodes->nodes.size()); }
  int locals() const { return static_cast<int>(site_.nodes->nodes.front().size()); }
  int peer(int n, int l) const {
    return site_.nodes->nodes[static_cast<std::size_t>(n)][static_cast<std::size_t>(l)];
  }
  std::size_t rank_of(int n, int l) const { return static_cast<std::size_t>(peer(n, l)); }
  Region count_region(CommSpace space, int n) const {
    const std::int64_t bytes = locals() * static_cast<std::int64_t>(sizeof(std::int64_t));
    return {space, n * bytes, bytes};
  }

  // Pieces for one node are sent as they lie: together where its ranks are neighbours in the group.
  void first_hop(ProgramBuilder& build) {
    relayed_.assign(static_cast<std::size_t>(nodes()), {});
    for (int i = 1; i < nodes(); ++i) {
      const int n = (node_ + i) % nodes();
      for (int l = 0; l < locals(); ++l) {
        Region run = in_[peer(n, l)];
        while (l + 1 < locals() && peer(n, l + 1) == peer(n, l) + 1) {
          run.count += in_[peer(n, ++l)].count;
        }
        build.send(peer(n, local_), run);
      }
    }
    for (int i = 1; i < nodes(); ++i) receive_for_node(build, (node_ + i) % nodes());
  }

  // What the column's rank of node n sends for this node: into scratch, in runs as above.
  void receive_for_node(ProgramBuilder& build, int n) {
    std::vector<Region>& pieces = relayed_[static_cast<std::size_t>(n)];
    for (int l = 0; l < locals(); ++l) {
      const std::size_t told = static_cast<std::size_t>(n * locals() + l);
      pieces.push_back(build.scratch(told_[told]));
    }
    for (int l = 0; l < locals(); ++l) {
      Region run = pieces[static_cast<std::size_t>(l)];
      while (l + 1 < locals() && peer(node_, l + 1) == peer(node_, l) + 1) {
        run.count += pieces[static_cast<std::size_t>(++l)].count;
      }
      build.receive(peer(n, local_), run);
    }
  }

  // A rank passes on to each mate, node by node, what its column had for the mate.
  void second_hop(ProgramBuilder& build) {
    for (int i = 0; i < locals(); ++i) {
      const int mate = (local_ + i) % locals();
      for (int n = 0; n < nodes(); ++n) {
        const Region own = in_[peer(node_, mate)];
        const Region from =
            n == node_ ? own
                       : relayed_[static_cast<std::size_t>(n)][static_cast<std::size_t>(mate)];
        if (i == 0) {
          build.copy(from, out_[peer(n, local_)]);
        } else {
          build.send(peer(node_, mate), from);
          build.receive(peer(node_, mate), out_[peer(n, mate)]);
        }
      }
    }
  }

  Site site_;  // borrows the group's hierarchy
  Pieces in_;
  Pieces out_;
  Element element_;
  const void* data_in_;
  void* data_out_;
  int node_ = 0;
  int local_ = 0;
  std::vector<std::int64_t> asked_;
  std::vector<std::int64_t> told_;
  std::vector<std::vector<Region>> relayed_;  // [node][local] in scratch
};

}  // namespace

void install_two_hop(Operation& operation, const Site& site, std::span<const std::int64_t> sent,
                     std::span<const std::int64_t> received) {
  TwoHop hops(operation, site, sent, received);
  hops.begin(operation);
  // Moving keeps the memory that the first program reads and writes.
  operation.then = [plan = std::move(hops)](Operation& op) mutable {
    plan.go_on(op);
    return true;
  };
}

}  // namespace narrows

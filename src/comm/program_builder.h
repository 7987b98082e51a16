// Writes a CommProgram step by step; for program_*.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <numeric>
#include <utility>
#include <vector>

#include "comm/program.h"

namespace narrows {

// Where each of consecutive pieces begins.
class Pieces {
 public:
  Pieces(CommSpace space, std::span<const std::int64_t> counts) : space_(space), starts_{0} {
    for (const std::int64_t count : counts) starts_.push_back(starts_.back() + count);
  }
  // `count` elements in `parts` nearly equal pieces that begin at multiples of 16 elements, so that
  // two ranks do not write to one cache line.
  static Pieces equal(CommSpace space, std::int64_t count, int parts) {
    std::vector<std::int64_t> counts;
    std::int64_t begin = 0;
    for (int i = 1; i <= parts; ++i) {
      const std::int64_t end = i == parts ? count : count * i / parts / 16 * 16;
      counts.push_back(end - begin);
      begin = end;
    }
    return Pieces(space, counts);
  }

  Region operator[](int i) const {
    const std::size_t at = static_cast<std::size_t>(i);
    return {space_, starts_[at], starts_[at + 1] - starts_[at]};
  }
  std::int64_t total() const { return starts_.back(); }

 private:
  CommSpace space_;
  std::vector<std::int64_t> starts_;
};

// Steps over no elements are left out: both ends know the counts. A send or receive of nothing can
// be asked for by `signal` and `await`.
class ProgramBuilder {
 public:
  void copy(Region from, Region to) { local(Step::Kind::Copy, from, to); }
  void combine(Region from, Region to) { local(Step::Kind::Combine, from, to); }
  void send(int peer, Region from) { message(Step::Kind::Send, peer, from); }
  void receive(int peer, Region to) { message(Step::Kind::Receive, peer, to); }
  void reduce(int peer, Region to) { reduce(peer, to, to); }
  void reduce(int peer, Region from, Region to) {
    message(Step::Kind::Reduce, peer, to);
    if (to.count > 0) program_.steps.back().from = from;
  }
  void join(int peer, Region to) { message(Step::Kind::Join, peer, to); }
  void signal(int peer) { program_.steps.push_back({Step::Kind::Send, peer, {}, {}}); }
  void await(int peer) { program_.steps.push_back({Step::Kind::Receive, peer, {}, {}}); }
  // Ends the round; one without steps is none.
  void end_round() {
    const std::size_t begun = program_.rounds.empty() ? 0 : program_.rounds.back();
    if (program_.steps.size() > begun) program_.rounds.push_back(program_.steps.size());
  }
  Region scratch(std::int64_t count) {
    program_.scratch += count;
    return {CommSpace::Scratch, program_.scratch - count, count};
  }
  CommProgram finish() {
    end_round();
    return std::move(program_);
  }

 private:
  void local(Step::Kind kind, Region from, Region to) {
    if (from.count > 0) program_.steps.push_back({kind, -1, from, to});
  }
  void message(Step::Kind kind, int peer, Region region) {
    if (region.count == 0) return;
    Step step{kind, peer, {}, {}};
    (kind == Step::Kind::Send ? step.from : step.to) = region;
    program_.steps.push_back(step);
  }

  CommProgram program_;
};

inline Region in_space(Region region, CommSpace space) {
  return {space, region.offset, region.count};
}

// Programs of one algorithm; program.cc chooses.
CommProgram ring_all_reduce(const Site& site, std::int64_t count);
CommProgram ring_reduce_scatter(const Site& site, std::span<const std::int64_t> counts);
CommProgram ring_all_gather(const Site& site, std::span<const std::int64_t> counts);
CommProgram ring_all_to_all(const Site& site, const Pieces& in, const Pieces& out);
CommProgram ring_broadcast(const Site& site, int root, std::int64_t count);
CommProgram tree_all_reduce(const Site& site, std::int64_t count);
CommProgram tree_broadcast(const Site& site, int root, std::int64_t count);
CommProgram hierarchical_all_reduce(const Site& site, std::int64_t count);
CommProgram hierarchical_reduce_scatter(const Site& site, std::span<const std::int64_t> counts);
CommProgram hierarchical_all_gather(const Site& site, std::span<const std::int64_t> counts);
CommProgram hierarchical_broadcast(const Site& site, int root, std::int64_t count);

}  // namespace narrows

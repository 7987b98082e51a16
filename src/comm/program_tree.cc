// SPDX-License-Identifier: Apache-2.0
#include "comm/program_builder.h"

namespace narrows {
namespace {

// Places count from the root. In round k of a reduction place p receives from p + 2^k while p is a
// multiple of 2^(k+1), and sends to p - 2^k where it is an odd multiple of 2^k.
struct Tree {
  int place, size, root;
  int rank_of(int at) const { return (at + root) % size; }
};

void reduce_rounds(ProgramBuilder& build, const Tree& tree, Region data) {
  for (int step = 1; step < tree.size; step *= 2) {
    if (tree.place % (2 * step) == step) {
      build.send(tree.rank_of(tree.place - step), data);
      build.end_round();
      return;
    }
    if (tree.place + step < tree.size) build.reduce(tree.rank_of(tree.place + step), data);
    build.end_round();
  }
}

void broadcast_rounds(ProgramBuilder& build, const Tree& tree, Region data) {
  int step = 1;
  while (step < tree.size && tree.place % (2 * step) == 0) step *= 2;
  if (tree.place > 0) build.receive(tree.rank_of(tree.place - step), data);
  build.end_round();
  for (step /= 2; step > 0; step /= 2) {
    if (tree.place + step < tree.size) build.send(tree.rank_of(tree.place + step), data);
  }
  build.end_round();
}

}  // namespace

CommProgram tree_all_reduce(const Site& site, std::int64_t count) {
  ProgramBuilder build;
  const Tree tree{site.rank, site.size, 0};
  reduce_rounds(build, tree, {CommSpace::Out, 0, count});
  broadcast_rounds(build, tree, {CommSpace::Out, 0, count});
  return build.finish();
}

CommProgram tree_broadcast(const Site& site, int root, std::int64_t count) {
  ProgramBuilder build;
  const Tree tree{(site.rank - root + site.size) % site.size, site.size, root};
  broadcast_rounds(build, tree, {CommSpace::Out, 0, count});
  return build.finish();
}

}  // namespace narrows

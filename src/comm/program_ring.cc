// SPDX-License-Identifier: Apache-2.0
#include "comm/program_builder.h"

namespace narrows {
namespace {

struct Ring {
  int rank, size;
  int next() const { return (rank + 1) % size; }
  int before(int steps = 1) const { return ((rank - steps) % size + size) % size; }
};

// After size - 1 rounds piece `rank` is complete here: what is sent on in round k was completed by
// one more contribution in round k - 1.
void reduce_scatter_rounds(ProgramBuilder& build, const Ring& ring, const Pieces& data) {
  for (int k = 0; k + 1 < ring.size; ++k) {
    build.send(ring.next(), data[ring.before(k + 1)]);
    build.reduce(ring.before(), data[ring.before(k + 2)]);
    build.end_round();
  }
}

void all_gather_rounds(ProgramBuilder& build, const Ring& ring, const Pieces& data) {
  for (int k = 0; k + 1 < ring.size; ++k) {
    build.send(ring.next(), data[ring.before(k)]);
    build.receive(ring.before(), data[ring.before(k + 1)]);
    build.end_round();
  }
}

}  // namespace

CommProgram ring_all_reduce(const Site& site, std::int64_t count) {
  ProgramBuilder build;
  const Ring ring{site.rank, site.size};
  const Pieces data = Pieces::equal(CommSpace::Out, count, site.size);
  reduce_scatter_rounds(build, ring, data);
  all_gather_rounds(build, ring, data);
  return build.finish();
}

CommProgram ring_reduce_scatter(const Site& site, std::span<const std::int64_t> counts) {
  ProgramBuilder build;
  const Pieces data(CommSpace::In, counts);
  reduce_scatter_rounds(build, {site.rank, site.size}, data);
  build.copy(data[site.rank], {CommSpace::Out, 0, data[site.rank].count});
  return build.finish();
}

CommProgram ring_all_gather(const Site& site, std::span<const std::int64_t> counts) {
  ProgramBuilder build;
  const Pieces data(CommSpace::Out, counts);
  build.copy({CommSpace::In, 0, data[site.rank].count}, data[site.rank]);
  all_gather_rounds(build, {site.rank, site.size}, data);
  return build.finish();
}

CommProgram ring_all_to_all(const Site& site, const Pieces& in, const Pieces& out) {
  ProgramBuilder build;
  build.copy(in[site.rank], out[site.rank]);
  for (int k = 1; k < site.size; ++k) {
    const int to = (site.rank + k) % site.size;
    const int from = (site.rank + site.size - k) % site.size;
    build.send(to, in[to]);
    build.receive(from, out[from]);
    build.end_round();
  }
  return build.finish();
}

// A chain from the root, in pieces, so that all links carry at once.
CommProgram ring_broadcast(const Site& site, int root, std::int64_t count) {
  ProgramBuilder build;
  const Ring ring{site.rank, site.size};
  const Pieces data = Pieces::equal(CommSpace::Out, count, site.size);
  const int place = (site.rank - root + site.size) % site.size;
  for (int piece = 0; piece <= site.size; ++piece) {
    const bool forwards = piece > 0 && place + 1 < site.size;
    if (forwards) build.send(ring.next(), data[piece - 1]);
    if (piece < site.size && place > 0) build.receive(ring.before(), data[piece]);
    build.end_round();
  }
  return build.finish();
}

}  // namespace narrows

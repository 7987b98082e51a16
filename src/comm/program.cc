// SPDX-License-Identifier: Apache-2.0
#include "comm/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "comm/program_builder.h"

namespace narrows {
namespace {

struct Name {
  const char* name;
  Algorithm algorithm;
};
constexpr Name kNames[] = {{"direct", Algorithm::Direct},
                           {"ring", Algorithm::Ring},
                           {"tree", Algorithm::Tree},
                           {"hierarchical", Algorithm::Hierarchical},
                           {"two-hop", Algorithm::TwoHop}};
// What a plan writes for the ways in which experts and context exchange their data.
constexpr Name kExchanges[] = {{"deepep", Algorithm::TwoHop},
                               {"all-to-all", Algorithm::Direct},
                               {"per-rank", Algorithm::Direct},
                               {"all-gather", Algorithm::Direct}};

// Up to here every member sums everything: one exchange instead of two is worth the bytes.
constexpr std::size_t kOneExchangeBytes = 4096;

int after(const Site& site, int steps) { return (site.rank + steps) % site.size; }

bool has_levels(const Site& site) {
  return (site.algorithm == Algorithm::Hierarchical || site.algorithm == Algorithm::TwoHop) &&
         site.nodes != nullptr && site.nodes->is_even && site.nodes->nodes.size() > 1 &&
         site.nodes->nodes.front().size() > 1;
}

// Hierarchical or TwoHop over uneven nodes, or Ring itself.
bool is_ring(const Site& site) {
  const bool levels =
      site.algorithm == Algorithm::Hierarchical || site.algorithm == Algorithm::TwoHop;
  return site.algorithm == Algorithm::Ring ||
         (levels && (site.nodes == nullptr || !site.nodes->is_even));
}

// Every member gets all contributions and sums them in order of rank.
CommProgram one_exchange_all_reduce(const Site& site, std::int64_t count) {
  ProgramBuilder build;
  const Region data{CommSpace::Out, 0, count};
  std::vector<Region> from;
  for (int i = 0; i < site.size; ++i) from.push_back(build.scratch(count));
  build.copy(data, from[static_cast<std::size_t>(site.rank)]);
  for (int i = 1; i < site.size; ++i) {
    const int peer = after(site, i);
    build.send(peer, from[static_cast<std::size_t>(site.rank)]);
    build.receive(peer, from[static_cast<std::size_t>(peer)]);
  }
  build.end_round();
  build.copy(from.front(), data);
  for (std::size_t i = 1; i < from.size(); ++i) build.combine(from[i], data);
  return build.finish();
}

// Of two in one memory: each adds its half for both, and every number is touched once.
CommProgram joint_all_reduce(const Site& site, std::int64_t count) {
  ProgramBuilder build;
  const Pieces out = Pieces::equal(CommSpace::Out, count, site.size);
  build.send(after(site, 1), out[after(site, 1)]);
  build.join(after(site, 1), out[site.rank]);
  return build.finish();
}

CommProgram direct_all_reduce(const Site& site, std::int64_t count) {
  if (site.size == 2 && site.shares_memory) return joint_all_reduce(site, count);
  ProgramBuilder build;
  const Pieces out = Pieces::equal(CommSpace::Out, count, site.size);
  for (int i = 1; i < site.size; ++i) build.send(after(site, i), out[after(site, i)]);
  for (int i = 1; i < site.size; ++i) build.reduce(after(site, i), out[site.rank]);
  build.end_round();
  for (int i = 1; i < site.size; ++i) {
    build.send(after(site, i), out[site.rank]);
    build.receive(after(site, i), out[after(site, i)]);
  }
  return build.finish();
}

CommProgram direct_reduce_scatter(const Site& site, std::span<const std::int64_t> counts) {
  ProgramBuilder build;
  const Pieces in(CommSpace::In, counts);
  const Region own{CommSpace::Out, 0, in[site.rank].count};
  if (site.size == 1) build.copy(in[site.rank], own);
  for (int i = 1; i < site.size; ++i) build.send(after(site, i), in[after(site, i)]);
  for (int i = 1; i < site.size; ++i)
    build.reduce(after(site, i), i == 1 ? in[site.rank] : own, own);
  return build.finish();
}

CommProgram direct_all_gather(const Site& site, std::span<const std::int64_t> counts) {
  ProgramBuilder build;
  const Pieces out(CommSpace::Out, counts);
  const Region own{CommSpace::In, 0, out[site.rank].count};
  build.copy(own, out[site.rank]);
  for (int i = 1; i < site.size; ++i) {
    build.send(after(site, i), own);
    build.receive(after(site, i), out[after(site, i)]);
  }
  return build.finish();
}

CommProgram direct_all_to_all(const Site& site, const Pieces& in, const Pieces& out) {
  ProgramBuilder build;
  build.copy(in[site.rank], out[site.rank]);
  for (int i = 1; i < site.size; ++i) {
    build.send(after(site, i), in[after(site, i)]);
    build.receive(after(site, site.size - i), out[after(site, site.size - i)]);
  }
  return build.finish();
}

CommProgram direct_broadcast(const Site& site, int root, std::int64_t count) {
  ProgramBuilder build;
  const Region data{CommSpace::Out, 0, count};
  if (site.rank != root) build.receive(root, data);
  for (int i = 1; site.rank == root && i < site.size; ++i) build.send(after(site, i), data);
  return build.finish();
}

}  // namespace

std::string to_string(Algorithm algorithm) {
  for (const Name& name : kNames) {
    if (name.algorithm == algorithm) return name.name;
  }
  return "direct";
}

Result<Algorithm> algorithm_of(std::string_view name) {
  if (name.empty()) return Algorithm::Direct;
  for (const Name& one : kExchanges) {
    if (one.name == name) return one.algorithm;
  }
  std::string known;
  for (const Name& one : kNames) {
    if (one.name == name) return one.algorithm;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", one.name);
  }
  return invalid(fmt::format("expected an algorithm ({}), found \"{}\"", known, name));
}

Hierarchy hierarchy_of(std::span<const int> members, int per_node) {
  Hierarchy h;
  std::map<int, std::vector<int>> nodes;
  for (std::size_t i = 0; i < members.size(); ++i) {
    std::vector<int>& node = nodes[members[i] / std::max(1, per_node)];
    h.local_of.push_back(static_cast<int>(node.size()));
    node.push_back(static_cast<int>(i));
  }
  h.node_of.resize(members.size());
  for (const auto& [at, ranks] : nodes) {
    for (const int rank : ranks) {
      h.node_of[static_cast<std::size_t>(rank)] = static_cast<int>(h.nodes.size());
    }
    h.nodes.push_back(ranks);
    h.is_even = h.is_even && ranks.size() == h.nodes.front().size();
  }
  return h;
}

CommProgram all_reduce_program(const Site& site, std::int64_t count, std::size_t bytes_each) {
  if (site.size == 1) return {};
  if (is_ring(site)) return ring_all_reduce(site, count);
  if (site.algorithm == Algorithm::Tree) return tree_all_reduce(site, count);
  if (has_levels(site)) return hierarchical_all_reduce(site, count);
  const std::size_t bytes = static_cast<std::size_t>(count) * bytes_each;
  return bytes <= kOneExchangeBytes ? one_exchange_all_reduce(site, count)
                                    : direct_all_reduce(site, count);
}

CommProgram reduce_scatter_program(const Site& site, std::span<const std::int64_t> counts) {
  if (is_ring(site)) return ring_reduce_scatter(site, counts);
  if (has_levels(site)) return hierarchical_reduce_scatter(site, counts);
  return direct_reduce_scatter(site, counts);
}

CommProgram all_gather_program(const Site& site, std::span<const std::int64_t> counts) {
  if (is_ring(site)) return ring_all_gather(site, counts);
  if (has_levels(site)) return hierarchical_all_gather(site, counts);
  return direct_all_gather(site, counts);
}

CommProgram all_to_all_program(const Site& site, std::span<const std::int64_t> sent,
                               std::span<const std::int64_t> received) {
  const Pieces in(CommSpace::In, sent);
  const Pieces out(CommSpace::Out, received);
  return is_ring(site) ? ring_all_to_all(site, in, out) : direct_all_to_all(site, in, out);
}

bool is_two_hop(const Site& site) {
  return site.algorithm == Algorithm::TwoHop && has_levels(site);
}

CommProgram broadcast_program(const Site& site, int root, std::int64_t count) {
  if (is_ring(site)) return ring_broadcast(site, root, count);
  if (site.algorithm == Algorithm::Tree) return tree_broadcast(site, root, count);
  if (has_levels(site)) return hierarchical_broadcast(site, root, count);
  return direct_broadcast(site, root, count);
}

// Dissemination (hensgen1988): after round k every rank knows of 2^(k+1) others.
CommProgram barrier_program(const Site& site) {
  ProgramBuilder build;
  for (int step = 1; step < site.size; step *= 2) {
    build.signal(after(site, step));
    build.await(after(site, site.size - step));
    build.end_round();
  }
  return build.finish();
}

}  // namespace narrows

// Every verb of a Communicator against brute force: run by ranks that are threads and by ranks that
// are processes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "comm/communicator.h"

namespace narrows::test {

inline constexpr Algorithm kAlgorithms[] = {Algorithm::Direct, Algorithm::Ring, Algorithm::Tree,
                                            Algorithm::Hierarchical, Algorithm::TwoHop};

// Small whole numbers, so that sums are exact in any order: what rank `rank` holds at `i`.
inline float value(int rank, std::int64_t i) {
  return static_cast<float>(mix(static_cast<std::uint64_t>(rank * 1000003 + i)) % 64);
}

inline std::vector<float> values(int rank, std::int64_t count) {
  std::vector<float> v;
  for (std::int64_t i = 0; i < count; ++i) v.push_back(value(rank, i));
  return v;
}

inline std::vector<float> sums(int ranks, std::int64_t count) {
  std::vector<float> v(static_cast<std::size_t>(count));
  for (int r = 0; r < ranks; ++r) {
    for (std::int64_t i = 0; i < count; ++i) v[static_cast<std::size_t>(i)] += value(r, i);
  }
  return v;
}

// Elements that rank `from` has for rank `to`; some pairs have none.
inline std::int64_t amount(int from, int to) {
  return static_cast<std::int64_t>(mix(static_cast<std::uint64_t>(from * 31 + to)) % 5) * 7;
}

inline Status differ(const char* what, int rank) {
  return invalid(std::string(what) + ": rank " + std::to_string(rank) +
                 " has other values than brute force");
}

inline Status check_all_reduce(Communicator& comm, std::int64_t count) {
  std::vector<float> data = values(comm.rank(), count);
  TRY(comm.all_reduce(data));
  if (data != sums(comm.size(), count)) return differ("all_reduce", comm.rank());
  std::vector<float> largest = values(comm.rank(), count);
  TRY(comm.all_reduce(largest, Reduction::Max));
  for (std::int64_t i = 0; i < count; ++i) {
    float expected = 0;
    for (int r = 0; r < comm.size(); ++r) expected = std::max(expected, value(r, i));
    if (largest[static_cast<std::size_t>(i)] != expected) return differ("max", comm.rank());
  }
  return {};
}

inline std::vector<std::int64_t> unequal(int ranks) {
  std::vector<std::int64_t> counts;
  for (int r = 0; r < ranks; ++r) counts.push_back(amount(r, 99));
  return counts;
}

inline Status check_scatter_and_gather(Communicator& comm, std::vector<std::int64_t> counts) {
  std::vector<std::int64_t> starts = {0};
  for (const std::int64_t count : counts) starts.push_back(starts.back() + count);
  const std::size_t at = static_cast<std::size_t>(comm.rank());
  std::vector<float> in = values(comm.rank(), starts.back());
  std::vector<float> out(static_cast<std::size_t>(counts[at]));
  TRY(comm.reduce_scatter(in, out, counts));
  const std::vector<float> all = sums(comm.size(), starts.back());
  if (!std::equal(out.begin(), out.end(), all.begin() + starts[at])) {
    return differ("reduce_scatter", comm.rank());
  }
  std::vector<float> gathered(all.size());
  TRY(comm.all_gather(out, gathered, counts));
  if (gathered != all) return differ("all_gather", comm.rank());
  return {};
}

inline Status check_all_to_all(Communicator& comm) {
  std::vector<std::int64_t> sent, received;
  std::vector<float> in, expected;
  for (int peer = 0; peer < comm.size(); ++peer) {
    sent.push_back(amount(comm.rank(), peer));
    received.push_back(amount(peer, comm.rank()));
    for (std::int64_t i = 0; i < sent.back(); ++i) in.push_back(value(comm.rank() * 64 + peer, i));
    for (std::int64_t i = 0; i < received.back(); ++i) {
      expected.push_back(value(peer * 64 + comm.rank(), i));
    }
  }
  std::vector<float> out(expected.size());
  TRY(comm.all_to_all(in, sent, out, received));
  if (out != expected) return differ("all_to_all", comm.rank());
  return {};
}

inline Status check_broadcast(Communicator& comm) {
  for (int root = 0; root < comm.size(); ++root) {
    std::vector<float> data = values(comm.rank(), 37);
    TRY(comm.broadcast(data, root));
    if (data != values(root, 37)) return differ("broadcast", comm.rank());
    TRY(comm.barrier());
  }
  return {};
}

inline Status check_everything(Communicator& comm) {
  for (const std::int64_t count : {0, 1, 5, 64, 3000}) TRY(check_all_reduce(comm, count));
  TRY(check_scatter_and_gather(comm, unequal(comm.size())));
  TRY(check_scatter_and_gather(
      comm, std::vector<std::int64_t>(static_cast<std::size_t>(comm.size()), 33)));
  TRY(check_all_to_all(comm));
  return check_broadcast(comm);
}

}  // namespace narrows::test

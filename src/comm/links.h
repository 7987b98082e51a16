// Links that are slower than memory, for real: each rank has one port a level and direction, and a
// message occupies the sender's and the receiver's port for bytes / bandwidth, first come first
// served (a token bucket without burst); it arrives a latency later. So a laptop executes a
// cluster's narrow links.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace narrows {

// Neighbouring ranks, `group` of them, are joined by the level's links. Levels ascend from the
// inside; the last joins all.
struct LinkLevel {
  std::string name;
  int group = 1;
  Bandwidth bandwidth;  // a rank, one direction; zero: as fast as memory
  Seconds latency;
  friend bool operator==(const LinkLevel&, const LinkLevel&) = default;
};

// "nvlink=100GB/s,5us" sets bandwidth and latency of the named level (either may be left out:
// "nvlink=5us"). InvalidInput names the levels.
Status emulate_link(const std::string& text, std::vector<LinkLevel>& levels);

// How many neighbouring ranks share the innermost level that joins any; 1 if there is none.
int ranks_per_node(const std::vector<LinkLevel>& levels);

// Thread-safe.
class Links {
 public:
  Links(std::vector<LinkLevel> levels, int ranks);

  bool are_slow() const { return slow_; }  // some level is emulated
  // Books a message between two ranks of the world that can leave at `now` (nanoseconds of any one
  // clock); when it arrives.
  std::int64_t arrival(int from, int to, std::size_t bytes, std::int64_t now);

 private:
  struct Port {
    std::int64_t out_free = 0;
    std::int64_t in_free = 0;
  };

  std::vector<LinkLevel> levels_;
  bool slow_ = false;
  std::mutex mutex_;
  std::vector<std::vector<Port>> ports_;  // [level][rank]
};

}  // namespace narrows

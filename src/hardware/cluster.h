// A cluster: GPUs of one chip and the levels of links between them, from the inside out. Read from
// hwprofiles/nodes and hwprofiles/clusters, or made from a node type and a count (`h100:1024`).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "hardware/chip.h"

namespace narrows {

// One level of links. Ranks 0 … group-1 form the first group, and so on; the last group may be
// partial.
struct Level {
  std::string name;                   // "nvlink", "infiniband", "roce", …
  int group = 1;                      // GPUs joined at this level; the outermost level joins all
  Figure<Bandwidth> nominal;          // data sheet, one GPU, one direction
  Figure<Bandwidth> usable;           // what large messages reach point to point
  Figure<Seconds> latency;            // a small message, one way
  bool in_network_reduction = false;  // NVLS or SHARP
  double oversubscription = 1;        // 7 = a seventh of the bandwidth above this level's groups
  Figure<Bandwidth>
      forwarded;  // what a relay within this level reaches while forwarding another level's traffic

  friend bool operator==(const Level&, const Level&) = default;
};

// A collective's measured times among `ranks` ranks of the cluster, by size.
struct MeasuredCollective {
  struct Point {
    Bytes bytes;
    Seconds time;
    friend bool operator==(const Point&, const Point&) = default;
  };
  std::string what;  // as model/op.h names it: "all-reduce"
  int ranks = 2;
  std::vector<Point> points;  // ascending in bytes

  friend bool operator==(const MeasuredCollective&, const MeasuredCollective&) = default;
};

struct Cluster {
  std::string name;
  std::string title;
  std::string node;  // the node type it is made of
  int gpus = 0;
  int gpus_per_node = 8;
  Chip chip;
  std::vector<Level> levels;   // inside out; group sizes ascend
  Figure<PricePerTime> price;  // rent of one GPU; 0 = unknown
  std::string price_date;
  Figure<Watts> node_power;  // a whole node under load; 0 = unknown
  std::string software;      // its own training stack, "" = none
  // Measured on this very cluster; they come before what its levels say.
  std::vector<MeasuredCollective> collectives;
  std::string notes;

  friend bool operator==(const Cluster&, const Cluster&) = default;
};

// How a communication group lies on the levels: `inside[l]` = members within one group of level l
// (of the first such group). inside.back() is the size of the group.
struct Span {
  std::vector<int> inside;
  int size() const { return inside.empty() ? 1 : inside.back(); }
  friend bool operator==(const Span&, const Span&) = default;
  friend auto operator<=>(const Span&, const Span&) = default;
};

// The span of `size` ranks, `stride` apart, starting at rank 0.
Span span_of(const Cluster& cluster, int size, int stride);

}  // namespace narrows

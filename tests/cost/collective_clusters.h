// Clusters for the tests of this folder, built by hand.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hardware/cluster.h"

namespace narrows {

inline Level link(const char* name, int group, double nominal_gbps, double usable_gbps = 0) {
  Level level;
  level.name = name;
  level.group = group;
  level.nominal.value = nominal_gbps * GB / sec;
  level.usable.value = usable_gbps * GB / sec;
  level.latency.value = 3.7 * us;
  return level;
}

inline Cluster cluster_of(const char* chip, const char* architecture, int gpus_per_node,
                          std::vector<Level> levels) {
  Cluster cluster;
  cluster.name = chip;
  cluster.chip.name = chip;
  cluster.chip.architecture = architecture;
  cluster.gpus_per_node = gpus_per_node;
  cluster.levels = std::move(levels);
  cluster.gpus = cluster.levels.back().group;
  return cluster;
}

// Nodes of 8 with one 400 Gb/s NIC each. DeepSeek's: NVLink cut to 200 GB/s, rates as DeepEP
// reaches them.
inline Cluster h800_cluster() {
  Cluster cluster = cluster_of("h800-sxm5", "hopper", 8,
                               {link("nvlink", 8, 200, 155), link("infiniband", 2048, 50, 44)});
  cluster.levels[0].forwarded.value = 140 * GB / sec;
  cluster.levels[0].in_network_reduction = true;
  return cluster;
}

inline Cluster h100_cluster() {
  Cluster cluster =
      cluster_of("h100-sxm5", "hopper", 8, {link("nvlink", 8, 450), link("infiniband", 1024, 50)});
  cluster.levels[0].in_network_reduction = true;
  return cluster;
}

inline Cluster a100_cluster() {
  return cluster_of("a100-sxm4-80gb", "ampere", 8,
                    {link("nvlink", 8, 300), link("infiniband", 1024, 25)});
}

// Trays of 4 joined by NVLink into racks of 72.
inline Cluster nvl72_cluster() {
  Cluster cluster =
      cluster_of("gb200", "blackwell", 4,
                 {link("tray", 4, 900), link("nvlink", 72, 900), link("infiniband", 576, 50)});
  cluster.levels[0].in_network_reduction = cluster.levels[1].in_network_reduction = true;
  return cluster;
}

}  // namespace narrows

// One node's links, as `nvidia-smi topo -m` prints them or NCCL writes them (NCCL_TOPO_DUMP_FILE),
// as a cluster that `--cluster FILE` reads. NVLink's width is counted in links, whose rate follows
// from the chip's profile; what large messages reach, and latencies, are taken over from the chip's
// node type (hwprofiles/nodes) in proportion and marked "derived".
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "hardware/profile_library.h"

namespace narrows {

// What a topology file says.
struct Topology {
  std::string kind;  // "nvidia-smi topo" or "nccl-topology"
  std::string chip;  // by its PCI number; "" where the file does not say
  int gpus = 0;
  int joined = 1;      // GPUs of a group that NVLink joins completely
  double nvlinks = 0;  // of one GPU; 0 = none
  Bandwidth network;   // of all network ports together, one direction; 0 = not said
  int ports = 0;       // network ports
};

bool is_topology_matrix(std::string_view text);
bool is_nccl_topology(std::string_view text);

// The table of `nvidia-smi topo -m`.
Result<Topology> read_topology_matrix(std::string_view text, const std::string& name);
// NCCL's <system> document.
Result<Topology> read_nccl_topology(std::string_view text, const std::string& name);

// `nodes` of them; more than one needs the network's rate. `chip` names the chip, or "" for the one
// that the file tells; both must agree. InvalidInput says what is missing.
Result<Cluster> cluster_of(const Topology& topology, const std::string& name,
                           const std::string& chip, int nodes, const ProfileLibrary& library);

}  // namespace narrows

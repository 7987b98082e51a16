// The constants of the network model, as hwprofiles/collectives/multi_node/nccl.json gives them,
// each with its source.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/embedded.h"
#include "base/result.h"
#include "base/units.h"

namespace narrows {

// The time of an algorithm's hops, and its share of the bandwidth of the links.
struct AlgorithmConstants {
  Seconds base;
  Seconds inner_hop;  // inside a domain
  Seconds outer_hop;  // over the network; at least the level's latency
  double efficiency = 1;
};

struct NetworkConstants {
  AlgorithmConstants ring;
  AlgorithmConstants ring_low_latency;
  AlgorithmConstants tree;
  AlgorithmConstants tree_low_latency;
  AlgorithmConstants in_network;
  AlgorithmConstants doubling;  // recursive doubling of gather and scatter; one GPU a domain
  // The rate of large messages is this share of a level's nominal rate, and at most this multiple
  // of its usable rate.
  double plateau_of_nominal = 1;
  double plateau_of_usable = 1;
  // All-to-all: share of that rate, latency of the call and of each remote peer, and the start of
  // the proxies' pipelines, which a message pays as far as it fills them.
  double all_to_all_share = 1;
  Seconds all_to_all_base;
  Seconds all_to_all_peer;
  Seconds all_to_all_start;
  Bytes all_to_all_full;
  double error = 0;  // expected, relative
};

Result<NetworkConstants> parse_network_constants(const EmbeddedFile& file);
// The constants that are compiled in.
const NetworkConstants& network_constants();

}  // namespace narrows

// Ranks of one machine as a cluster, from what was measured of it: each rank a "chip" whose rates
// are the best that its kernels reached, all of them joined by memory, with the measured times of
// collectives as they are. Nothing is guessed: what was not measured is refused.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "hardware/cluster.h"
#include "measurement/observation.h"

namespace narrows {

inline constexpr const char* kCpuArchitecture = "cpu";

struct LocalMachine {
  std::string chip;       // as its measurements name it
  std::string processor;  // "Intel(R) Xeon(R) Processor"
  int ranks = 1;
  Bytes memory;          // of the whole machine
  std::string measured;  // how, for the sources: "self-timing of 2 s", "profile"
  int processors = 0;    // that the ranks share; 0 = one each
};

// Whether the machine's rates are among them: f32 matmuls and copies. A training's own rows, which
// `tune` keeps, have no copies.
bool has_rates(std::span<const Measurement> kernels);

// Rates: the most that a forward matmul of each format, a copy and a message reached; a cluster of
// two ranks or more whose links were not measured takes the copy's rate and 5 us. Where ranks
// outnumber processors a rank has so much of a multiprocessor: its times are those of ranks that
// all run, and one that waits leaves its share to the others. Memory: the machine's, less a tenth
// for the system, in equal parts. NotFound without f32 matmuls or copies.
Result<Cluster> local_cluster(const LocalMachine& machine, std::span<const Measurement> kernels,
                              std::span<const LinkMeasurement> links);

}  // namespace narrows

// `--cluster local[:N]`: N ranks of this machine (all its processors if N is not given), as they
// were measured, or after a self-timing of two seconds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/own_measurements.h"
#include "hardware/cluster.h"
#include "measurement/measurement.h"

namespace narrows {

// "local", "local:4".
bool is_local(const std::string& cluster);
// How many ranks it names. InvalidInput for a number that is none.
Result<int> local_ranks(const std::string& cluster);

struct LocalMeasured {
  Cluster cluster;
  std::vector<Measurement> kernels;
  std::string words;  // where its figures come from
};

Result<LocalMeasured> load_local(const std::string& cluster, const std::optional<std::string>& db);

// The rows that a plan on a machine's own ranks is priced with; none for other clusters.
Result<std::vector<Measurement>> rows_of_machine(const Cluster& cluster,
                                                 const std::optional<std::string>& db);

}  // namespace narrows

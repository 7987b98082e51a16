// Clusters in JSON. A plan file holds one whole, chip included. A profile names its chip, and a
// node type (hwprofiles/nodes) whose levels, price and power it takes where it gives none: a user's
// own cluster can be five lines.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "base/json.h"
#include "hardware/cluster.h"

namespace narrows {

// A whole cluster; `chip` is an object.
Result<Cluster> cluster_from_json(JsonObject& object);
// Reads back to an equal cluster.
Json to_json(const Cluster& cluster);

// How a profile's names are resolved.
struct ProfileNames {
  std::function<Result<Chip>(const std::string&)> chip;
  std::function<Result<Cluster>(const std::string&)> node;
};

// A cluster whose `chip` may be a name; `node` is a known node type, whose levels and so on it
// takes by default.
Result<Cluster> cluster_from_profile(JsonObject& object, const ProfileNames& names);
// A node type: a cluster of no GPUs yet, the outermost level's group is 0.
Result<Cluster> node_from_profile(JsonObject& object, const ProfileNames& names);

// The first `gpus` of a cluster or node type, which must be at most one node or whole nodes; levels
// that join no more than an inner one are left out. `spec` is how messages call what was asked for.
Result<Cluster> first_gpus(Cluster cluster, int gpus, const std::string& spec);

}  // namespace narrows

// The chips, nodes, clusters, export rules and prices that the program knows: those of hwprofiles,
// compiled in, and a folder of the user's whose files replace them or add to them by path
// (`--profiles DIR`: DIR/chips/h100-sxm5.json).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "hardware/cluster.h"
#include "hardware/export_rules.h"
#include "hardware/prices.h"

namespace narrows {

// Where figures come from.
struct Source {
  std::string title;
  std::string url;          // "" = none
  std::string reliability;  // "" = not assessed
};

// const is thread-safe.
class ProfileLibrary {
 public:
  // Reads every file of the folder that it knows (chips, nodes, clusters, rules, prices,
  // sources.json) and refuses the whole with the first that is wrong; other files are not looked
  // at.
  static Result<ProfileLibrary> open(const std::optional<std::string>& directory);

  // Names in order. `node` gives a node type: a cluster of no GPUs yet.
  std::vector<std::string> chips() const { return names("chips"); }
  std::vector<std::string> nodes() const { return names("nodes"); }
  std::vector<std::string> clusters() const { return names("clusters"); }
  // NotFound names the nearest.
  Result<Chip> chip(const std::string& name) const;
  Result<Cluster> node(const std::string& name) const;

  // The node type that carries a chip; for a variant with the same links as one that a node carries
  // (its `kernels_like`), that node with the chip put in. NotFound if there is none.
  Result<Cluster> node_of(const std::string& chip) const;

  // The first `gpus` of a cluster: its name, NODE:N on the node's default fabric, or a path (with a
  // slash or ending in .json) to a cluster file. More than a node must be whole nodes. Unsupported
  // for `local`, which is measured.
  Result<Cluster> cluster(const std::string& spec, std::optional<int> gpus = {}) const;

  // By date.
  Result<std::vector<ExportRule>> rules() const;
  Result<std::vector<Price>> prices() const;
  Result<OwnershipFigures> ownership() const;
  // By id. NotFound for words that a user's own file gives instead of an id.
  Result<Source> source(const std::string& id) const;
  // The newest date in prices, rules and sources: how old the data are.
  Result<std::string> newest_date() const;

 private:
  struct File {
    std::string name;  // for messages
    std::string text;
  };

  std::vector<std::string> names(const std::string& folder) const;
  Result<Json> document(const std::string& folder, const std::string& name,
                        const std::string& what) const;
  Result<Cluster> named_cluster(const std::string& name) const;
  Result<Cluster> cluster_file(const std::string& path) const;
  Status check(const std::string& path) const;

  std::map<std::string, File> files_;  // by path below hwprofiles
};

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "hardware/profile_library.h"

#include <catch2/catch.hpp>

#include "hardware/chip_json.h"
#include "hardware/cluster_json.h"

using namespace narrows;

namespace {

const ProfileLibrary& library() {
  static const ProfileLibrary opened = *ProfileLibrary::open({});
  return opened;
}

std::string complaint(const std::string& spec, std::optional<int> gpus = {}) {
  const Result<Cluster> cluster = library().cluster(spec, gpus);
  return cluster ? "accepted" : cluster.error().message;
}

}  // namespace

TEST_CASE("profiles: every chip, node type and cluster of the program reads") {
  for (const std::string& name : library().chips()) {
    const Result<Chip> chip = library().chip(name);
    INFO((chip ? name : chip.error().message));
    CHECK(chip.has_value());
  }
  for (const std::string& name : library().nodes()) {
    const Result<Cluster> node = library().node(name);
    INFO((node ? name : node.error().message));
    CHECK(node.has_value());
  }
  for (const std::string& name : library().clusters()) {
    const Result<Cluster> cluster = library().cluster(name);
    INFO((cluster ? name : cluster.error().message));
    CHECK(cluster.has_value());
  }
}

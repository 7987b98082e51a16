// A model on a cluster under a stack, with what prices it, for the tests of blocks, items and
// steps.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "cost/item_cost.h"
#include "cost/step_cost.h"
#include "hardware/profile_library.h"
#include "measurement/kernel_tables.h"
#include "model/builtin.h"
#include "plan/jobs.h"
#include "software/library.h"

namespace narrows {

template <typename T>
T value_of(Result<T> result) {
  if (!result) FAIL(result.error().message);
  return std::move(*result);
}

inline const KernelTables& shared_tables() {
  static const KernelTables tables = value_of(KernelTables::published());
  return tables;
}
inline const ProfileLibrary& shared_profiles() {
  static const ProfileLibrary library = value_of(ProfileLibrary::open({}));
  return library;
}
inline ModelSpec builtin(const std::string& name) { return value_of(builtin_model(name)).spec; }
inline Cluster cluster_named(const std::string& name) {
  return value_of(shared_profiles().cluster(name));
}

// Not movable: the pricers borrow its parts.
struct Pricing {
  ModelSpec model;
  Cluster cluster;
  SoftwareProfile software;
  Routing routing;
  KernelTimes kernels;
  GroupCounts counts;
  BlockPricer blocks;
  ItemPricer items;

  Pricing(ModelSpec m, Cluster c, SoftwareProfile s, Routing r = Routing::Balanced)
      : model(std::move(m)),
        cluster(std::move(c)),
        software(std::move(s)),
        routing(r),
        kernels(shared_tables(), cluster.chip, software),
        counts(routed_groups(model)),
        blocks(model, cluster, software, routing, kernels, counts),
        items(blocks) {}
  Pricing(const std::string& m, const std::string& c, const std::string& s)
      : Pricing(builtin(m), cluster_named(c), value_of(find_software(s))) {}
  Pricing(const Pricing&) = delete;
  Pricing& operator=(const Pricing&) = delete;

  BlockLayout layout(const Strategy& strategy, std::int64_t sequence) const {
    return block_layout(strategy, sequence, Grid(strategy), cluster);
  }
};

}  // namespace narrows

// From names and options to a whole job, with every default that was taken.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"
#include "cli/profiles.h"
#include "measurement/kernel_tables.h"
#include "model/builtin.h"
#include "planner/make_plan.h"
#include "planner/search.h"

namespace narrows {

// Owns what a Job borrows.
struct LoadedJob {
  ModelSpec model;
  Cluster cluster;
  SoftwareProfile software;
  Training training;
  Pins pins;
  PricePerTime price;       // 0 = unknown
  std::string price_basis;  // where it comes from
  std::vector<std::string> assumed;
  std::vector<Measurement> measured;  // of the store that --db names

  Job job() const { return {model, cluster, software, training, pins}; }
  ForecastOptions forecast_options() const { return {price, default_convention(software)}; }
};

// The published kernel tables, with the store's rows of the cluster's chip before them.
Result<KernelTables> kernel_tables(const LoadedJob& job);

Result<LoadedJob> load_job(const JobOptions& options, const Profiles& profiles);

// The price a node's profile gives, in words: "2024-12, S-V3INSIGHT".
std::string price_basis_of(const Cluster& cluster);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cli/local.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cost/load.h"
#include "measure/machine.h"
#include "measure/profile.h"
#include "measure/shapes.h"
#include "measurement/local_cluster.h"
#include "runtime/cpu_backend.h"

namespace narrows {
namespace {

constexpr int kMostRanks = 256;
constexpr Seconds kSelfTiming = 2 * sec;

// Copies, large matmuls and messages of a few sizes: rates, without the ops of any model.
Result<OwnMeasurements> self_timing(int ranks) {
  OwnMeasurements own;
  ProfileOptions options;
  options.ranks = ranks;
  options.rules.budget = kSelfTiming;
  options.rules.most = 10;
  options.rules.once_at_least = true;
  options.cases = rate_cases({Recipe::F32, Recipe::Bf16});
  options.largest = 1 * MiB;
  options.links_share = 0.4;
  options.method = "threads";
  ProfileEvents events;
  events.kernel = [&](const KernelObservation& seen) -> Status {
    own.kernels.push_back(seen.what);
    return {};
  };
  events.link = [&](const LinkObservation& seen) -> Status {
    own.links.push_back(seen.what);
    return {};
  };
  TRY(profile_machine(
      options, [] { return make_cpu_backend(1); }, events));
  return own;
}

// What a store of links or of a training's ops alone does not say.
Status add_rates(OwnMeasurements& own, const LocalMachine& machine) {
  OwnMeasurements rates = TRY(self_timing(machine.ranks));
  for (Measurement& row : rates.kernels) {
    row.chip = machine.chip;
    own.kernels.push_back(std::move(row));
  }
  if (own.links.empty()) own.links = std::move(rates.links);
  return {};
}

// Ranks are threads unless a launcher says otherwise: messages between processes count only where
// nothing else was measured.
void prefer_threads(std::vector<LinkMeasurement>& links) {
  const auto is_other = [](const LinkMeasurement& link) { return link.method != "threads"; };
  if (!std::all_of(links.begin(), links.end(), is_other)) std::erase_if(links, is_other);
}

}  // namespace

bool is_local(const std::string& cluster) {
  return cluster == "local" || cluster.starts_with("local:");
}

Result<int> local_ranks(const std::string& cluster) {
  if (cluster == "local") return this_machine().processors;
  const Result<std::int64_t> ranks = parse_count(cluster.substr(std::string("local:").size()));
  if (ranks && *ranks >= 1 && *ranks <= kMostRanks) return static_cast<int>(*ranks);
  return invalid(fmt::format("{}: expected local:N with 1 to {} ranks", cluster, kMostRanks));
}

Result<LocalMeasured> load_local(const std::string& cluster, const std::optional<std::string>& db) {
  const MachineInfo info = this_machine();
  const int ranks = TRY(local_ranks(cluster));
  LocalMachine machine{
      local_chip_name(info, ranks), info.processor, ranks, info.memory, "", info.processors};
  OwnMeasurements own = TRY(own_measurements(db, machine.chip));
  LocalMeasured local;
  if (own.empty()) {
    machine.measured = "self-timing of 2 s";
    local.words = fmt::format(
        "kernels: no measurements of {}, so a roofline from two seconds of copies and matmuls "
        "(narrows profile measures)",
        machine.chip);
    own = TRY(self_timing(ranks));
    for (Measurement& row : own.kernels) row.chip = machine.chip;
  } else {
    machine.measured = "narrows profile";
    prefer_threads(own.links);
    local.words = fmt::format("kernels: {} of {}, {} of its links, in {}",
                              with_commas(static_cast<std::int64_t>(own.kernels.size())),
                              machine.chip, own.links.size(), own.path);
    if (!has_rates(own.kernels)) {
      TRY(add_rates(own, machine));
      local.words += "; its rates from two seconds of copies and matmuls";
    }
  }
  local.cluster = TRY(local_cluster(machine, own.kernels, own.links));
  const double slowest = pace_in(own.kernels).slowest;
  if (slowest > 1) {
    const double each = (slowest - 1) / expected_maximum_of_normals(ranks);
    local.cluster.chip.spread = Figure<double>{each, "narrows profile", "", ""};
  }
  local.kernels = std::move(own.kernels);
  return local;
}

Result<std::vector<Measurement>> rows_of_machine(const Cluster& cluster,
                                                 const std::optional<std::string>& db) {
  if (cluster.chip.architecture != kCpuArchitecture) return std::vector<Measurement>{};
  return TRY(own_measurements(db, cluster.chip.name)).kernels;
}

}  // namespace narrows

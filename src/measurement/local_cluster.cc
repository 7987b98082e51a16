// SPDX-License-Identifier: Apache-2.0
#include "measurement/local_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace narrows {
namespace {

FlopRate best_rate(std::span<const Measurement> kernels, Recipe recipe) {
  FlopRate best;
  for (const Measurement& row : kernels) {
    if (row.family != KernelFamily::Matmul || row.recipe != recipe) continue;
    const double products = row.matmul.m.expected * static_cast<double>(row.matmul.n) *
                            static_cast<double>(row.matmul.k);
    best = max(best, 2 * products * flop / row.time);
  }
  return best;
}

Bandwidth best_copy(std::span<const Measurement> kernels) {
  Bandwidth best;
  for (const Measurement& row : kernels) {
    if (row.family == KernelFamily::Memory && row.memory_class == "copy")
      best = max(best, row.traffic / row.time);
  }
  return best;
}

template <typename T>
Figure<T> figure(T value, const LocalMachine& machine) {
  return {value, machine.measured, "", ""};
}

Level level_of(const LocalMachine& machine, Bandwidth copy,
               std::span<const LinkMeasurement> links) {
  Bandwidth best;
  Seconds least;
  for (const LinkMeasurement& link : links) {
    if (link.what != CollectiveKind::SendRecv) continue;
    best = max(best, link.bytes / link.time);
    if (least <= Seconds() || link.time < least) least = link.time;
  }
  const Bandwidth rate = best > Bandwidth() ? best : copy;
  Level level;
  level.name = "memory";
  level.group = machine.ranks;
  level.nominal = figure(rate, machine);
  level.usable = figure(rate, machine);
  level.forwarded = level.usable;
  level.latency = figure(least > Seconds() ? least : 5 * us, machine);
  return level;
}

// By kind and group, ascending in bytes; of several rows of one size the median.
std::vector<MeasuredCollective> curves_of(std::span<const LinkMeasurement> links) {
  std::map<std::pair<int, int>, std::map<double, std::vector<double>>> sorted;
  for (const LinkMeasurement& link : links) {
    if (link.streamed || link.waits) continue;
    sorted[{static_cast<int>(link.what), link.ranks}][link.bytes / byte].push_back(link.time / sec);
  }
  std::vector<MeasuredCollective> curves;
  for (auto& [key, sizes] : sorted) {
    MeasuredCollective curve;
    curve.what = to_string(static_cast<CollectiveKind>(key.first));
    curve.ranks = key.second;
    for (auto& [bytes, times] : sizes) {
      std::sort(times.begin(), times.end());
      curve.points.push_back({bytes * byte, times[times.size() / 2] * sec});
    }
    curves.push_back(std::move(curve));
  }
  return curves;
}

}  // namespace

bool has_rates(std::span<const Measurement> kernels) {
  return best_rate(kernels, Recipe::F32) > FlopRate() && best_copy(kernels) > Bandwidth();
}

Result<Cluster> local_cluster(const LocalMachine& machine, std::span<const Measurement> kernels,
                              std::span<const LinkMeasurement> links) {
  const FlopRate wide = best_rate(kernels, Recipe::F32);
  const FlopRate narrow = best_rate(kernels, Recipe::Bf16);
  const Bandwidth copy = best_copy(kernels);
  if (!(wide > FlopRate()) || !(copy > Bandwidth())) {
    return not_found(
        fmt::format("{}: expected measured f32 matmuls and copies, found none of the {}",
                    machine.chip, wide > FlopRate() ? "second" : "first"));
  }
  Cluster cluster;
  cluster.name = fmt::format("local-{}", machine.ranks);
  cluster.title =
      fmt::format("{} rank{} of this machine", machine.ranks, machine.ranks == 1 ? "" : "s");
  cluster.gpus = machine.ranks;
  cluster.gpus_per_node = machine.ranks;
  Chip& chip = cluster.chip;
  chip.name = machine.chip;
  chip.title = machine.processor;
  chip.architecture = kCpuArchitecture;
  chip.peak["fp32"] = figure(wide, machine);
  if (narrow > FlopRate()) chip.peak["bf16"] = figure(narrow, machine);
  const double share = static_cast<double>(machine.processors) / machine.ranks;
  chip.multiprocessors = figure(machine.processors > 0 ? std::min(1.0, share) : 1.0, machine);
  chip.memory = figure(0.9 / machine.ranks * machine.memory, machine);
  chip.memory_reported = chip.memory;
  chip.memory_bandwidth = figure(copy, machine);
  chip.data_centre = false;
  cluster.levels = {level_of(machine, copy, links)};
  cluster.collectives = curves_of(links);
  cluster.software = "narrows";
  return cluster;
}

}  // namespace narrows

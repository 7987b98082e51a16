// SPDX-License-Identifier: Apache-2.0
#include "accuracy/lookup.h"

#include <map>
#include <optional>

#include "accuracy/statistics.h"
#include "model/flops.h"

namespace narrows {
namespace {

struct Known {
  std::vector<std::string> keys;  // from the narrowest to the widest
  double work = 0;                // FLOPs of a step on one GPU
  double efficiency = 0;          // FLOPs a second and GPU
};

Known known_of(const Run& run) {
  Known known;
  const std::string& chip = run.hardware.chip;
  const std::string precise = chip + "|" + run.layout.recipe;
  known.keys = {run.software + run.software_date + "|" + precise + "|" + run.model->name,
                run.software + "|" + precise + "|" + run.model->name,
                precise + "||" + run.model->name,
                run.software + "|" + precise,
                precise,
                chip,
                ""};
  const double tokens = static_cast<double>(*run.sequence) * static_cast<double>(*run.global_batch);
  const Flops per_token =
      training_flops_per_token(*run.model, *run.sequence, FlopsConvention::Megatron);
  known.work = tokens * (per_token / flop) / *run.hardware.gpus;
  known.efficiency = known.work / (*run.step / sec);
  return known;
}

}  // namespace

std::vector<double> lookup_steps(const RunSet& set, bool leave_out) {
  std::vector<std::optional<Known>> known;
  // key -> group -> efficiencies.
  std::map<std::string, std::map<std::string, std::vector<double>>> table;
  for (const RunRow& row : set.rows()) {
    known.push_back(row.family.empty() ? std::nullopt : std::optional(known_of(*row.run)));
    if (!known.back()) continue;
    for (const std::string& key : known.back()->keys)
      table[key][row.run->group].push_back(known.back()->efficiency);
  }
  std::vector<double> steps(known.size());
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (!known[i]) continue;
    for (const std::string& key : known[i]->keys) {
      std::vector<double> seen;
      for (const auto& [group, efficiencies] : table[key]) {
        if (leave_out && group == set.rows()[i].run->group) continue;
        seen.insert(seen.end(), efficiencies.begin(), efficiencies.end());
      }
      if (seen.empty()) continue;
      steps[i] = known[i]->work / *median(seen);
      break;
    }
  }
  return steps;
}

}  // namespace narrows

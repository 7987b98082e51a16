// SPDX-License-Identifier: Apache-2.0
#include "accuracy/ordering.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace narrows {
namespace {

constexpr double kApart = 0.03;
constexpr std::size_t kLayouts = 3;

std::string job_key(const Run& run) {
  return fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", run.group, run.model->name, run.model->layers,
                     run.hardware.chip, *run.hardware.gpus, *run.sequence, *run.global_batch,
                     run.layout.recipe, run.software, run.software_date);
}

// Layouts as the records print them; a repeated run is no second layout.
std::size_t layouts_of(const std::vector<const Run*>& runs, const std::vector<std::size_t>& rows) {
  std::vector<RunLayout> seen;
  for (const std::size_t row : rows) {
    const RunLayout& layout = runs[row]->layout;
    if (std::find(seen.begin(), seen.end(), layout) == seen.end()) seen.push_back(layout);
  }
  return seen.size();
}

}  // namespace

Ordering ordering_of(const std::vector<const Run*>& runs, const std::vector<double>& predicted) {
  std::map<std::string, std::vector<std::size_t>> jobs;
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    if (predicted[i] > 0) jobs[job_key(*runs[i])].push_back(i);
  }
  Ordering ordering;
  for (const auto& [key, rows] : jobs) {
    if (layouts_of(runs, rows) < kLayouts) continue;
    ++ordering.jobs;
    for (std::size_t a = 0; a < rows.size(); ++a) {
      for (std::size_t b = a + 1; b < rows.size(); ++b) {
        const Run &one = *runs[rows[a]], &other = *runs[rows[b]];
        const double ratio = *one.step / *other.step;
        if (one.layout == other.layout) continue;
        if (std::max(ratio, 1 / ratio) <= 1 + kApart) continue;
        ++ordering.pairs;
        const double ours = predicted[rows[a]] / predicted[rows[b]];
        if ((ours - 1) * (ratio - 1) > 0) ++ordering.right;
      }
    }
  }
  return ordering;
}

}  // namespace narrows

// `narrows diff`: two plan files side by side, and why one is faster. Both are played again, so
// that a forecast that was edited or is stale does not count.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <map>

#include "cli/commands.h"
#include "cli/explain.h"
#include "cli/figures.h"
#include "cli/local.h"
#include "cli/play_plan.h"
#include "report/comparison_view.h"
#include "report/text_table.h"

namespace narrows {
namespace {

Result<PlayedPlan> played(const std::string& path) {
  const Plan plan = TRY(read_plan(path));
  const std::vector<Measurement> measured = TRY(rows_of_machine(plan.cluster, {}));
  Result<PlayedPlan> result = play_plan(plan, plan.cluster.price.value, measured);
  if (!result) return tl::unexpected(result.error().within(path));
  return result;
}

// Dotted paths and values of all that was decided or assumed; not the forecast, nor the peaks that
// follow from it.
std::vector<ValueRow> decisions_of(const Plan& plan) {
  std::vector<ValueRow> rows = rows_of(to_json(plan), {"forecast"});
  std::vector<ValueRow> kept;
  for (const ValueRow& row : rows) {
    if (!row.name.ends_with("memory_peak_bytes")) kept.push_back(row);
  }
  return kept;
}

std::string value_of(const ValueRow& row) { return row.value.empty() ? row.remark : row.value; }

std::vector<FieldDifference> differences(const Plan& a, const Plan& b) {
  std::map<std::string, std::string> second;
  for (const ValueRow& row : decisions_of(b)) second[row.name] = value_of(row);
  std::vector<FieldDifference> fields;
  for (const ValueRow& row : decisions_of(a)) {
    const auto other = second.find(row.name);
    const std::string words = other == second.end() ? "" : other->second;
    if (words != value_of(row)) fields.push_back({row.name, value_of(row), words});
    if (other != second.end()) second.erase(other);
  }
  for (const auto& [name, value] : second) fields.push_back({name, "", value});
  return fields;
}

std::vector<std::string> reasons(const DifferenceView& view) {
  if (view.first.step == view.second.step) return {"Both steps take the same time."};
  const bool first = view.first.step < view.second.step;
  const Forecast& fast = first ? view.first : view.second;
  const Forecast& slow = first ? view.second : view.first;
  return {fmt::format("{} is faster: its step takes {}, the other's {} ({} longer).",
                      first ? view.first_name : view.second_name, duration_text(fast.step),
                      duration_text(slow.step), percent_text(slow.step / fast.step - 1)),
          fmt::format("Where the slower one spends its time: {}.", difference_words(fast, slow))};
}

}  // namespace

Result<int> diff_command(const DiffOptions& options, const CommonOptions& common,
                         const Console& console) {
  const PlayedPlan a = TRY(played(options.first));
  const PlayedPlan b = TRY(played(options.second));
  DifferenceView view;
  view.first_name = options.first;
  view.second_name = options.second;
  view.fields = differences(a.view.plan, b.view.plan);
  view.first = *a.view.plan.forecast;
  view.second = *b.view.plan.forecast;
  view.first_memory = view.first.memory[static_cast<std::size_t>(a.view.fullest_rank)];
  view.second_memory = view.second.memory[static_cast<std::size_t>(b.view.fullest_rank)];
  view.why = reasons(view);
  console.out << (common.json ? to_json(view).text() + "\n" : text_of(view));
  return kDone;
}

}  // namespace narrows

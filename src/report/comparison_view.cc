// SPDX-License-Identifier: Apache-2.0
#include "report/comparison_view.h"

#include <fmt/format.h>

#include "base/text.h"
#include "plan/strategy_json.h"
#include "report/text_table.h"

namespace narrows {
namespace {

template <typename T>
std::string or_dash(const std::optional<T>& value, std::string (*text)(T)) {
  return value ? text(*value) : "-";
}

std::int64_t whole(Bytes bytes) { return static_cast<std::int64_t>(bytes / byte); }

Json infeasible_json(const ComparisonRow& row) {
  if (!row.infeasible) return {};
  Json whole_object = to_json(*row.infeasible);
  return *whole_object.find("infeasible");
}

Json row_json(const ComparisonRow& row) {
  const Forecast* f = row.plan ? &*row.plan->plan.forecast : nullptr;
  const auto figure = [&](double value) { return f != nullptr ? Json(value) : Json(); };
  Json json = Json::object();
  json.set("cluster", row.cluster);
  json.set("chip", row.chip);
  json.set("gpus", row.gpus);
  json.set("step_seconds", f != nullptr ? figure(f->step / sec) : Json());
  json.set("days", f != nullptr ? Json(f->days) : Json());
  json.set("gpu_hours", f != nullptr ? Json(f->gpu_hours) : Json());
  json.set("cost_usd", f != nullptr ? Json(f->cost_usd) : Json());
  json.set("energy_mwh", f != nullptr ? Json(f->energy_mwh) : Json());
  json.set("mfu", f != nullptr ? figure(f->mfu) : Json());
  json.set("memory_peak_bytes", f != nullptr ? Json(whole(f->memory_peak)) : Json());
  json.set("memory_capacity_bytes",
           f != nullptr ? Json(whole(f->memory_capacity)) : Json(whole(row.infeasible->available)));
  json.set("infeasible", infeasible_json(row));
  json.set("plan", f != nullptr ? to_json(row.plan->plan.strategy, row.plan->plan.comm) : Json());
  const auto& assumed = f != nullptr ? row.plan->assumed : row.infeasible->assumed;
  Json lines = Json::array();
  for (const std::string& line : assumed) lines.push(line);
  json.set("software",
           f != nullptr ? row.plan->plan.software.name : row.infeasible->plan.software.name);
  json.set("assumed", std::move(lines));
  Json rules = Json::array();
  for (const RuleVerdict& verdict : row.rules) rules.push(to_json(verdict));
  json.set("rules", std::move(rules));
  return json;
}

std::vector<std::string> row_cells(const ComparisonRow& row) {
  std::vector<std::string> cells{row.cluster, with_commas(row.gpus)};
  if (!row.plan) {
    cells.push_back("infeasible");
    return cells;
  }
  const Forecast& f = *row.plan->plan.forecast;
  cells.insert(
      cells.end(),
      {duration_text(f.step), or_dash(f.days, number_text), or_dash(f.gpu_hours, number_text),
       or_dash(f.cost_usd, dollars_text), f.energy_mwh ? number_text(*f.energy_mwh) + " MWh" : "-",
       percent_text(f.mfu), gib_text(f.memory_peak), gib_text(f.memory_capacity)});
  return cells;
}

std::string layouts_text(const ComparisonView& view) {
  std::string out = "\nLayouts\n";
  TextTable table("lll");
  for (const ComparisonRow& row : view.rows) {
    if (row.plan) {
      table.row({row.cluster, layout_text(row.plan->plan.strategy)});
    } else {
      table.row(
          {row.cluster, fmt::format("needs {}, has {}", gib_text(total(row.infeasible->needed)),
                                    gib_text(row.infeasible->available))});
    }
  }
  return out + table.text();
}

std::string rules_text(const ComparisonView& view) {
  if (view.rows.empty() || view.rows.front().rules.empty()) return "";
  std::string alignment = "l";
  std::vector<std::string> head{"rule"};
  for (const ComparisonRow& row : view.rows) {
    alignment += 'l';
    head.push_back(row.chip);
  }
  TextTable table(alignment);
  table.row(head);
  for (std::size_t i = 0; i < view.rows.front().rules.size(); ++i) {
    std::vector<std::string> cells{view.rows.front().rules[i].rule};
    for (const ComparisonRow& row : view.rows)
      cells.push_back(i < row.rules.size() ? row.rules[i].result : "");
    table.row(cells);
  }
  return "\nExport rules of the United States (thresholds, not a ruling)\n" + table.text();
}

}  // namespace

Json to_json(const RuleVerdict& verdict) {
  Json object = Json::object();
  object.set("rule", verdict.rule);
  object.set("date", verdict.date);
  object.set("class", verdict.result);
  object.set("why", verdict.why);
  object.set("exception", verdict.exception);
  object.set("uncertain", verdict.uncertain);
  return object;
}

Json to_json(const ComparisonView& view) {
  Json rows = Json::array();
  for (const ComparisonRow& row : view.rows) rows.push(row_json(row));
  Json root = Json::object();
  root.set("rows", std::move(rows));
  return root;
}

std::string text_of(const ComparisonView& view) {
  TextTable table("lrrrrrrrrr");
  table.row(
      {"cluster", "GPUs", "step", "days", "GPU-hours", "cost", "energy", "MFU", "memory", "of"});
  for (const ComparisonRow& row : view.rows) table.row(row_cells(row));
  return view.title + "\n\n" + table.text() + layouts_text(view) + rules_text(view);
}

}  // namespace narrows

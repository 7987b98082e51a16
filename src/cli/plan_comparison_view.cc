// The comparison as text and JSON.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "cli/plan_comparison.h"
#include "report/text_table.h"

namespace narrows {
namespace {

// Slower or faster than this is worth a line.
constexpr double kNoticed = 0.05;

std::string pace_text(const PlanComparison& c) {
  const double over = c.slowdown - 1;
  if (c.slowdown <= 0 || (over < kNoticed && over > -kNoticed)) return "";
  return fmt::format(
      "The machine is {:.0f} % {} than when it was profiled, by a small matmul beside every step:\n"
      "at this pace the forecast is {}.\n",
      100 * (over > 0 ? over : -over), over > 0 ? "slower" : "faster",
      duration_text(c.slowdown * c.predicted_step));
}

std::string error_text(const ComparedTime& row) {
  if (!(row.measured > Seconds()) || !(row.predicted > Seconds())) return "-";
  return difference_text(row.predicted / row.measured - 1);
}

std::string time_text(Seconds time) { return time > Seconds() ? duration_text(time) : "-"; }

void add_rows(TextTable& table, const std::vector<ComparedTime>& rows, std::size_t most) {
  for (std::size_t i = 0; i < std::min(rows.size(), most); ++i) {
    const ComparedTime& row = rows[i];
    table.row({row.name, row.runs > 0 ? fmt::format("{:.0f}", row.runs) : "",
               time_text(row.predicted), time_text(row.measured), error_text(row)});
  }
}

Json rows_json(const std::vector<ComparedTime>& rows) {
  Json list = Json::array();
  for (const ComparedTime& row : rows) {
    Json item = Json::object();
    item.set("name", row.name);
    if (row.runs > 0) item.set("runs", row.runs);
    item.set("predicted_seconds", row.predicted / sec);
    item.set("measured_seconds", row.measured / sec);
    list.push(std::move(item));
  }
  return list;
}

}  // namespace

std::string text_of(const PlanComparison& c, int most_ops) {
  TextTable table("lrrrr", 0);
  table.row({"", "runs", "predicted", "measured", "error"});
  table.row({"step", "", duration_text(c.predicted_step), duration_text(c.measured_step),
             difference_text(c.predicted_step / c.measured_step - 1)});
  table.row({"phases, a rank"});
  add_rows(table, c.phases, c.phases.size());
  table.row({"instructions, each"});
  add_rows(table, c.instructions, c.instructions.size());
  table.row({"ops, a rank and step"});
  add_rows(table, c.ops, static_cast<std::size_t>(most_ops));
  std::string text = table.text() + pace_text(c);
  if (c.stated_step) {
    text += fmt::format("The plan's own forecast is {}, made with other measurements (--db).\n",
                        duration_text(*c.stated_step));
  }
  return text;
}

Json to_json(const PlanComparison& c) {
  Json document = Json::object();
  document.set("predicted_step_seconds", c.predicted_step / sec);
  document.set("measured_step_seconds", c.measured_step / sec);
  if (c.slowdown > 0) document.set("slowdown", c.slowdown);
  if (c.stated_step) document.set("stated_step_seconds", *c.stated_step / sec);
  document.set("phases", rows_json(c.phases));
  document.set("instructions", rows_json(c.instructions));
  document.set("ops", rows_json(c.ops));
  return document;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "plan/grid.h"
#include "report/text_table.h"

namespace narrows {
namespace {

template <typename T>
T middle(std::vector<T> values) {
  ASSERT(!values.empty());
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// "moe expert gate_up F".
std::string name_of(const OpLabel& label) {
  std::string name = label.block.empty() ? label.name : label.block + " " + label.name;
  return label.direction.empty() ? name : name + " " + label.direction;
}

// Durations by op: runs of one op in all layers are one op here.
struct Runs {
  OpLabel label;
  std::vector<Tick> times;
};
std::map<std::string, Runs> runs_of(const Timeline& timeline) {
  std::map<std::string, Runs> all;
  for (const OpSpan& span : timeline.ops) {
    const OpLabel& label = timeline.op_labels[static_cast<std::size_t>(span.label)];
    Runs& runs = all[name_of(label)];
    runs.label = label;
    runs.times.push_back(span.end - span.start);
  }
  return all;
}

// What one run takes, times how many there are: of waiting, the mean, of work the median.
ComparedTime measured_time(const std::string& name, const Runs& runs, double rank_steps) {
  ComparedTime row;
  row.name = name;
  row.runs = static_cast<double>(runs.times.size()) / rank_steps;
  const bool waits = runs.label.name == "receive" || runs.label.kind == "collective";
  Tick sum;
  for (const Tick time : runs.times) sum += time;
  row.measured =
      waits ? (1 / rank_steps) * to_seconds(sum) : row.runs * to_seconds(middle(runs.times));
  return row;
}

std::string phase_of(const OpLabel& label) {
  if (label.kind == "collective" || label.name == "gather weights" ||
      label.name == "scatter gradients")
    return "exposed_comm";
  if (label.name == "receive") return "bubble";
  if (label.name == "reduce gradients") return "gradient_reduction";
  if (label.name == "send weights") return "parameter_gather";
  const bool is_update = label.name == "update weights" || label.name == "gradient norm" ||
                         label.name == "clear gradients";
  if (is_update) return "optimizer";
  return label.name == "read tokens" ? "overhead" : "compute";
}

// Letters of an instruction's name, in capitals: its kind.
std::string kind_of(const std::string& name) {
  std::string kind;
  for (const char c : name) {
    if ((c >= 'A' && c <= 'Z') || c == '&') kind += c;
    if (c >= 'a' && c <= 'z') kind += static_cast<char>(c - 'a' + 'A');
  }
  return kind;
}

std::map<std::string, std::vector<Tick>> by_kind(const Timeline& timeline) {
  std::map<std::string, std::vector<Tick>> kinds;
  for (const TimeSpan& span : timeline.spans) {
    if (span.stream == 0) kinds[kind_of(span.name)].push_back(span.end - span.start);
  }
  return kinds;
}

std::vector<ComparedTime> instructions_of(const PlayedPlan& predicted,
                                          const MeasuredSteps& measured, double rank_steps) {
  std::vector<ComparedTime> rows;
  const auto expected = by_kind(predicted.timeline);
  for (const auto& [kind, times] : by_kind(measured.timeline)) {
    ComparedTime row;
    row.name = kind;
    row.runs = static_cast<double>(times.size()) / rank_steps;
    row.measured = to_seconds(middle(times));
    const auto found = expected.find(kind);
    if (found != expected.end()) {
      Tick sum;
      for (const Tick time : found->second) sum += time;
      row.predicted = (1 / static_cast<double>(found->second.size())) * to_seconds(sum);
    }
    rows.push_back(row);
  }
  return rows;
}

// Phases in the forecast's order; what of a measured step no op holds is "overhead".
std::vector<ComparedTime> phases_of(const PlayedPlan& predicted,
                                    const std::map<std::string, Seconds>& measured, Seconds step) {
  std::vector<ComparedTime> rows;
  Seconds rest = step;
  for (const auto& [name, time] : measured) rest -= time;
  for (const auto& [name, time] : predicted.view.plan.forecast->breakdown) {
    const auto found = measured.find(name);
    ComparedTime row{name, 0, time, found == measured.end() ? Seconds() : found->second};
    if (name == "overhead") row.measured += max(rest, Seconds());
    rows.push_back(row);
  }
  return rows;
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

PlanComparison compare_plan(const Plan& plan, const PlayedPlan& predicted,
                            const MeasuredSteps& measured) {
  PlanComparison comparison;
  comparison.predicted_step = predicted.view.plan.forecast->step;
  std::vector<Seconds> steps = measured.steps;
  if (steps.size() > 1) steps.erase(steps.begin());
  comparison.measured_step = middle(steps);

  const double rank_steps =
      static_cast<double>(measured.ranks) * static_cast<double>(measured.steps.size());
  // The forecast's ops are those of all ranks.
  const double ranks = gpus_of(plan.strategy);
  std::map<std::string, Seconds> phases;
  for (const auto& [name, runs] : runs_of(measured.timeline)) {
    ComparedTime row = measured_time(name, runs, rank_steps);
    phases[phase_of(runs.label)] += row.measured;
    for (const PredictedOp& op : predicted.ops) {
      if (name_of(op.label) == name) row.predicted += (op.runs / ranks) * op.time;
    }
    comparison.ops.push_back(std::move(row));
  }
  std::stable_sort(
      comparison.ops.begin(), comparison.ops.end(),
      [](const ComparedTime& a, const ComparedTime& b) { return a.measured > b.measured; });
  comparison.phases = phases_of(predicted, phases, comparison.measured_step);
  comparison.instructions = instructions_of(predicted, measured, rank_steps);
  return comparison;
}

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
  return table.text();
}

Json to_json(const PlanComparison& c) {
  Json document = Json::object();
  document.set("predicted_step_seconds", c.predicted_step / sec);
  document.set("measured_step_seconds", c.measured_step / sec);
  document.set("phases", rows_json(c.phases));
  document.set("instructions", rows_json(c.instructions));
  document.set("ops", rows_json(c.ops));
  return document;
}

Timeline middle_step(const MeasuredSteps& measured) {
  const Timeline& all = measured.timeline;
  std::vector<std::size_t> order(measured.steps.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return measured.steps[a] < measured.steps[b];
  });
  Timeline one;
  one.ranks = all.ranks;
  one.streams = all.streams;
  one.op_labels = all.op_labels;
  if (order.empty()) return one;
  const std::size_t step = order[order.size() / 2];
  // Every step of a rank has equally many spans and ops.
  std::map<int, std::vector<TimeSpan>> spans;
  std::map<int, std::vector<OpSpan>> ops;
  for (const TimeSpan& span : all.spans) spans[span.rank].push_back(span);
  for (const OpSpan& op : all.ops) ops[op.rank].push_back(op);
  const auto take = [&](const auto& from, auto& to) {
    const std::size_t each = from.size() / order.size();
    for (std::size_t i = step * each; i < (step + 1) * each; ++i) to.push_back(from[i]);
  };
  for (const auto& [rank, list] : spans) take(list, one.spans);
  for (const auto& [rank, list] : ops) take(list, one.ops);
  if (one.spans.empty()) return one;
  Tick first = one.spans.front().start;
  for (const TimeSpan& span : one.spans) first = std::min(first, span.start);
  for (TimeSpan& span : one.spans) span.start -= first, span.end -= first;
  for (OpSpan& op : one.ops) op.start -= first, op.end -= first;
  std::erase_if(one.ops, [](const OpSpan& op) { return op.start < Tick{}; });
  return one;
}

}  // namespace narrows

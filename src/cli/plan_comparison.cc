// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_comparison.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "plan/grid.h"
#include "timeline/usual_mean.h"

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

// Ranks meet in it, so that it lasts until the last one came.
bool is_waiting(const OpLabel& label) {
  constexpr std::array<std::string_view, 5> kMeetings = {
      "receive", "gather weights", "scatter gradients", "reduce gradients", "send weights"};
  return label.kind == "collective" ||
         std::find(kMeetings.begin(), kMeetings.end(), label.name) != kMeetings.end();
}

// What one run takes, times how many there are: of waiting the mean, of work that without
// interruptions.
ComparedTime measured_time(const std::string& name, const Runs& runs, double rank_steps) {
  ComparedTime row;
  row.name = name;
  row.runs = static_cast<double>(runs.times.size()) / rank_steps;
  Tick sum;
  for (const Tick time : runs.times) sum += time;
  row.measured = is_waiting(runs.label) ? (1 / rank_steps) * to_seconds(sum)
                                        : row.runs * usual_mean(runs.times);
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

std::vector<ComparedTime> instructions_of(const PlayedPlan& predicted, const Timeline& measured,
                                          double rank_steps) {
  std::vector<ComparedTime> rows;
  const auto expected = by_kind(predicted.timeline);
  for (const auto& [kind, times] : by_kind(measured)) {
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

}  // namespace

PlanComparison compare_plan(const Plan& plan, const PlayedPlan& predicted,
                            const MeasuredSteps& measured) {
  PlanComparison comparison;
  comparison.predicted_step = predicted.view.plan.forecast->step;
  if (plan.forecast && plan.forecast->step != comparison.predicted_step)
    comparison.stated_step = plan.forecast->step;
  const std::vector<std::size_t> counting = counting_steps(measured);
  std::vector<Seconds> steps;
  for (const std::size_t step : counting) steps.push_back(measured.steps[step].time);
  comparison.measured_step = middle(steps);
  comparison.slowdown = slowdown_of(measured);

  const Timeline timeline = only(measured, counting);
  const double rank_steps = static_cast<double>(measured.ranks) * static_cast<double>(steps.size());
  // The forecast's ops are those of all ranks.
  const double ranks = gpus_of(plan.strategy);
  std::map<std::string, Seconds> phases;
  for (const auto& [name, runs] : runs_of(timeline)) {
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
  comparison.instructions = instructions_of(predicted, timeline, rank_steps);
  return comparison;
}

}  // namespace narrows

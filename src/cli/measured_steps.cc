// SPDX-License-Identifier: Apache-2.0
#include "cli/measured_steps.h"

#include <algorithm>
#include <limits>
#include <map>

namespace narrows {

std::vector<std::size_t> counting_steps(const MeasuredSteps& measured) {
  std::vector<std::size_t> steps;
  for (std::size_t i = measured.steps.size() > 1 ? 1 : 0; i < measured.steps.size(); ++i)
    steps.push_back(i);
  return steps;
}

double slowdown_of(const MeasuredSteps& measured) {
  const std::vector<std::size_t> steps = counting_steps(measured);
  if (steps.empty() || !(measured.profile_pace > Seconds())) return 0;
  Seconds sum;
  for (const std::size_t step : steps) sum += measured.steps[step].calibration;
  return sum / (static_cast<double>(steps.size()) * measured.profile_pace);
}

namespace {

// What of a rank's list, which is in the order of starts, starts in [from, until).
template <typename Spans>
Spans started_in(const Spans& list, Tick from, Tick until) {
  const auto before = [](const auto& span, Tick at) { return span.start < at; };
  const auto first = std::lower_bound(list.begin(), list.end(), from, before);
  return Spans(first, std::lower_bound(first, list.end(), until, before));
}

}  // namespace

// Every step of a rank has equally many spans, and its ops lie before the next step's.
Timeline only(const MeasuredSteps& measured, const std::vector<std::size_t>& steps) {
  const Timeline& all = measured.timeline;
  Timeline some;
  some.ranks = all.ranks;
  some.streams = all.streams;
  some.op_labels = all.op_labels;
  std::map<int, std::vector<TimeSpan>> spans;
  std::map<int, std::vector<OpSpan>> ops;
  for (const TimeSpan& span : all.spans) spans[span.rank].push_back(span);
  for (const OpSpan& op : all.ops) ops[op.rank].push_back(op);
  for (const auto& [rank, list] : spans) {
    const std::size_t each = list.size() / measured.steps.size();
    for (const std::size_t step : steps) {
      const auto first = list.begin() + static_cast<std::ptrdiff_t>(step * each);
      const auto end = first + static_cast<std::ptrdiff_t>(each);
      some.spans.insert(some.spans.end(), first, end);
      const Tick until =
          end != list.end() ? end->start : Tick{std::numeric_limits<std::int64_t>::max()};
      const std::vector<OpSpan> mine = started_in(ops[rank], first->start, until);
      some.ops.insert(some.ops.end(), mine.begin(), mine.end());
    }
  }
  return some;
}

Timeline middle_step(const MeasuredSteps& measured) {
  std::vector<std::size_t> order = counting_steps(measured);
  if (order.empty() || measured.timeline.spans.empty()) return measured.timeline;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return measured.steps[a].time < measured.steps[b].time;
  });
  Timeline one = only(measured, {order[order.size() / 2]});
  Tick first = one.spans.front().start;
  for (const TimeSpan& span : one.spans) first = std::min(first, span.start);
  for (TimeSpan& span : one.spans) span.start -= first, span.end -= first;
  for (OpSpan& op : one.ops) op.start -= first, op.end -= first;
  std::erase_if(one.ops, [](const OpSpan& op) { return op.start < Tick{}; });
  return one;
}

}  // namespace narrows

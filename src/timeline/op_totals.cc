// SPDX-License-Identifier: Apache-2.0
#include "timeline/op_totals.h"

#include <algorithm>

namespace narrows {

void add_to(std::vector<OpTotal>& totals, const OpTotal& more) {
  OpLabel label = more.label;
  label.layer = -1;
  const auto found = std::find_if(totals.begin(), totals.end(),
                                  [&](const OpTotal& total) { return total.label == label; });
  if (found == totals.end()) {
    totals.push_back({std::move(label), more.runs, more.rows, more.time});
    return;
  }
  found->runs += more.runs;
  found->rows += more.rows;
  found->time += more.time;
}

void sort_by_time(std::vector<OpTotal>& totals) {
  std::stable_sort(totals.begin(), totals.end(),
                   [](const OpTotal& a, const OpTotal& b) { return a.time > b.time; });
}

std::vector<OpTotal> op_totals(const Timeline& timeline) {
  std::vector<OpTotal> by_label(timeline.op_labels.size());
  for (const OpSpan& span : timeline.ops) {
    OpTotal& total = by_label[static_cast<std::size_t>(span.label)];
    ++total.runs;
    total.rows += static_cast<double>(span.rows);
    total.time += span.end - span.start;
  }
  std::vector<OpTotal> totals;
  for (std::size_t i = 0; i < by_label.size(); ++i) {
    by_label[i].label = timeline.op_labels[i];
    if (by_label[i].runs > 0) add_to(totals, by_label[i]);
  }
  sort_by_time(totals);
  return totals;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "report/validation_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/text_table.h"

namespace narrows {
namespace {

constexpr std::size_t kWorst = 10;

std::string share_text(const std::optional<double>& share) {
  return share ? percent_text(*share) : "-";
}

void add_row(TextTable& table, const std::string& name, const ErrorSummary& s) {
  table.row({name, std::to_string(s.n), std::to_string(s.unsupported),
             share_text(s.median_absolute), share_text(s.p90_absolute),
             s.mean_signed ? difference_text(*s.mean_signed) : "-",
             s.spearman ? fmt::format("{:.2f}", *s.spearman) : "-", share_text(s.coverage)});
}

std::string worst_text(const ValidationReport& report) {
  std::vector<const ValidatedRun*> runs;
  for (const ValidatedRun& run : report.runs) {
    if (run.error && !run.calibration) runs.push_back(&run);
  }
  std::stable_sort(runs.begin(), runs.end(), [](const ValidatedRun* a, const ValidatedRun* b) {
    return std::abs(*a->error) > std::abs(*b->error);
  });
  if (runs.size() > kWorst) runs.resize(kWorst);
  TextTable table("lrrr");
  table.row({"run", "predicted", "measured", "error"});
  for (const ValidatedRun* run : runs) {
    table.row({run->id, duration_text(*run->predicted), duration_text(run->measured),
               difference_text(*run->error)});
  }
  return "Largest errors\n" + table.text();
}

std::string memory_text(const ValidationReport& report) {
  TextTable table("lrrr");
  table.row({"group", "runs", "median", "mean"});
  for (const auto& [group, summary] : report.memory) {
    table.row({group, std::to_string(summary.n), percent_text(summary.median_absolute),
               difference_text(summary.mean_signed)});
  }
  return "Peak memory, predicted against measured\n" + table.text();
}

}  // namespace

std::string text_of(const ValidationReport& report) {
  const auto table_of = [](const std::string& name,
                           const std::map<std::string, ErrorSummary>& summaries,
                           const ErrorSummary* all) {
    TextTable table("lrrrrrrr");
    table.row(
        {name, "runs", "unsupported", "median", "90th pct", "mean", "rank corr", "in interval"});
    if (all != nullptr) add_row(table, "all", *all);
    for (const auto& [value, summary] : summaries) add_row(table, value, summary);
    return table.text();
  };
  std::string text = "Step time, predicted against measured\n" +
                     table_of("group", report.by_group, &report.summary);
  for (const auto& [facet, summaries] : report.by_facet)
    text += "\n" + table_of(facet, summaries, nullptr);
  text += fmt::format(
      "\nMedian of the groups' medians {}; mean share of a group in its interval {}.\n\n",
      share_text(report.median_of_groups), share_text(report.coverage_of_groups));
  if (!report.memory.empty()) text += memory_text(report) + "\n";
  text += fmt::format("{} of {} runs, all of which ran, are predicted not to fit.\n\n",
                      report.not_fitting, report.predicted);
  if (report.ordering.pairs > 0) {
    text += fmt::format(
        "Of {} pairs of layouts of one job that differ by more than 3 %, {} are in the right "
        "order.\n\n",
        report.ordering.pairs, report.ordering.right);
  }
  return text + worst_text(report) +
         fmt::format("\n{} further runs are not scored: no step time, or excluded.\n",
                     report.not_scored);
}

}  // namespace narrows

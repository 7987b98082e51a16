// What `compare` and `diff` print.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hardware/export_rules.h"
#include "report/plan_view.h"

namespace narrows {

// One cluster's answer: a plan, or what it lacks.
struct ComparisonRow {
  std::string cluster;
  std::string chip;
  int gpus = 0;
  std::optional<PlanView> plan;
  std::optional<InfeasibleView> infeasible;
  std::vector<RuleVerdict> rules;
};

struct ComparisonView {
  std::string title;  // what is trained
  std::vector<ComparisonRow> rows;
};
Json to_json(const ComparisonView& view);
std::string text_of(const ComparisonView& view);
Json to_json(const RuleVerdict& verdict);

// Two plans: the fields in which they differ, and the forecasts side by side.
struct FieldDifference {
  std::string field;
  std::string first;  // "" = not there
  std::string second;
};

struct DifferenceView {
  std::string first_name;
  std::string second_name;
  std::vector<FieldDifference> fields;
  Forecast first;
  Forecast second;
  RankMemory first_memory;  // of the fullest rank
  RankMemory second_memory;
  std::vector<std::string> why;
};
Json to_json(const DifferenceView& view);
std::string text_of(const DifferenceView& view);

}  // namespace narrows

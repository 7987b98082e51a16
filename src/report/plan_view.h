// All that is shown of one plan: the plan itself, and what only the run that found it knows. The
// command line fills it; this module renders it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "accuracy/nearest_runs.h"
#include "plan/plan.h"

namespace narrows {

// Another strategy that was simulated.
struct Alternative {
  Strategy strategy;
  Seconds step;
  Bytes memory_peak;
  std::string difference;  // where it loses: "bubble +0.31 s"
};

struct SearchSummary {
  std::int64_t space = 0;
  std::int64_t evaluated = 0;
  std::int64_t feasible = 0;
  std::int64_t simulated = 0;
  bool complete = true;
  Seconds wall;  // never in plan files or text
  Seconds lower_bound;
  double gap = 0;
  std::vector<Alternative> alternatives;  // ascending by step, without the plan itself
};

struct PlanView {
  Plan plan;  // with a forecast
  int fullest_rank = 0;
  PricePerTime price;                   // 0 = unknown
  std::string price_basis;              // "2024-12, S-V3INSIGHT" or "--price"
  std::optional<SearchSummary> search;  // absent for a plan that was only played
  std::vector<std::string> reasons;     // why it wins and what binds, in sentences
  std::vector<NearestRun> nearest_runs;
  std::vector<std::string> assumed;
  // Of a plan file that is played again: the step it stated; absent where it stated none.
  std::optional<Seconds> stated_step;
};

// Nothing fits: what the least demanding strategy would need.
struct InfeasibleView {
  Plan plan;  // of that strategy; no forecast
  int rank = 0;
  RankMemory needed;
  Bytes available;
  std::optional<SearchSummary> search;
  std::vector<std::string> assumed;
};

// The objects of `plan --json` and `simulate --json` (docs/cli.md).
Json to_json(const PlanView& view);
Json to_json(const InfeasibleView& view);

// The same for a terminal: at most 100 columns.
std::string text_of(const PlanView& view);
std::string text_of(const InfeasibleView& view);

// "pp 16 dp 128 tp 1 ep 64 zero 1/128 micro 1x120 dualpipe fp8-block": short, for tables. "zero
// 1/128" is stage 1 over 128 ranks, "micro 1x120" 120 micro-batches of one sequence.
std::string layout_text(const Strategy& strategy);
// The same in words, for the plan itself.
std::string layout_words(const Strategy& strategy);

}  // namespace narrows

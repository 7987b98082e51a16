// One job searched: what `plan` and `compare` share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <variant>

#include "cli/console.h"
#include "cli/job.h"
#include "cli/options.h"
#include "report/plan_view.h"

namespace narrows {

struct SearchedJob {
  std::variant<PlanView, InfeasibleView> view;
  bool interrupted = false;
};

struct SearchLimits {
  int top = 5;
  Seconds time_limit;
};

// The best plan with its alternatives, or what the least demanding strategy would need.
Result<SearchedJob> search_job(const LoadedJob& loaded, const SearchLimits& limits,
                               const CommonOptions& common, const Console& console);

// "assumed: ..." lines on stderr, unless --quiet.
void print_assumed(const std::vector<std::string>& assumed, const CommonOptions& common,
                   const Console& console);

}  // namespace narrows

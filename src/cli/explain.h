// Why a plan wins, and what it is short of: in words, from the parts of its forecast.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "plan/forecast.h"
#include "plan/plan.h"
#include "report/plan_view.h"

namespace narrows {

// What the plan gains over the nearest strategies that are slower, and which fields make the
// difference.
std::vector<std::string> why_it_wins(const PlanView& view);

// The fields in which `other` differs: "ep 64 instead of 32, dp 128 instead of 256". "" for none.
std::string changed_fields(const Strategy& strategy, const Strategy& other);

// What binds: memory, network, bubble or compute, each with its figure.
std::vector<std::string> what_binds(const Plan& plan);

// The parts of the step in which `other` is slower than `best`, and the one in which it is faster
// most: "bubble +0.31 s, exposed comm +0.10 s, compute -0.05 s". "" where no part differs by more
// than a thousandth of the step.
std::string difference_words(const Forecast& best, const Forecast& other);

}  // namespace narrows

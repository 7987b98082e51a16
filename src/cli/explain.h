// Why a plan wins, and what it is short of: in words, from the parts of its forecast.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "plan/forecast.h"
#include "plan/plan.h"

namespace narrows {

// What binds: memory, network, bubble or compute, each with its figure.
std::vector<std::string> what_binds(const Plan& plan);

// The parts of the step in which `other` is slower than `best`, and the one in which it is faster
// most: "bubble +0.31 s, exposed comm +0.10 s, compute -0.05 s". "" where no part differs by more
// than a thousandth of the step.
std::string difference_words(const Forecast& best, const Forecast& other);

}  // namespace narrows

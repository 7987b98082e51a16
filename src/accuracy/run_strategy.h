// The strategy of a published run: its printed layout, completed by the defaults of its stack.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "accuracy/run.h"
#include "plan/strategy.h"
#include "software/profile.h"

namespace narrows {

// Appends a line to `assumed` for every default: "recompute=none". Unsupported if GPUs or batch do
// not divide. The run must have a model, a sequence, a batch and GPUs.
Result<Strategy> strategy_of(const Run& run, const SoftwareProfile& software,
                             std::vector<std::string>& assumed);

}  // namespace narrows

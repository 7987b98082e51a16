// From a simulated strategy to the records that leave the planner: the plan with its forecast.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "model/flops.h"
#include "plan/plan.h"
#include "planner/search.h"

namespace narrows {

struct ForecastOptions {
  PricePerTime price;  // rent of one GPU; 0 = unknown
  FlopsConvention convention = FlopsConvention::Megatron;
};

// DeepSeek's own count under its own stack, else Megatron's (cli.md).
FlopsConvention default_convention(const SoftwareProfile& software);

Forecast forecast_of(const Job& job, const Candidate& candidate, const ForecastOptions& options);
Plan plan_of(const Job& job, const Candidate& candidate, const ForecastOptions& options);

}  // namespace narrows

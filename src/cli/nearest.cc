// SPDX-License-Identifier: Apache-2.0
#include "cli/nearest.h"

#include "accuracy/run.h"

namespace narrows {

Result<std::vector<NearestRun>> nearest_to(const Plan& plan, const Profiles& profiles) {
  const std::vector<Run> runs = TRY(published_runs());
  const KernelTables tables = TRY(KernelTables::published());
  RunPredictor predictor(profiles.hardware, tables, profiles.software);
  const RunLikeness likeness =
      likeness_of(plan.model, plan.cluster, plan.training, plan.strategy, plan.software.name);
  return nearest_runs(likeness, runs, predictor);
}

}  // namespace narrows

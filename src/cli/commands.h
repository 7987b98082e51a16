// The commands, one file each. They return an exit code, or the Error that ends them with code 1.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "cli/console.h"
#include "cli/options.h"

namespace narrows {

Result<int> plan_command(const PlanOptions& options, const CommonOptions& common,
                         const Console& console);
Result<int> simulate_command(const SimulateOptions& options, const CommonOptions& common,
                             const Console& console);
Result<int> compare_command(const CompareOptions& options, const CommonOptions& common,
                            const Console& console);
Result<int> diff_command(const DiffOptions& options, const CommonOptions& common,
                         const Console& console);
Result<int> validate_command(const ValidateOptions& options, const CommonOptions& common,
                             const Console& console);
Result<int> calibrate_command(const CalibrateOptions& options, const CommonOptions& common,
                              const Console& console);
Result<int> import_command(const ImportOptions& options, const CommonOptions& common,
                           const Console& console);
Result<int> list_command(const ListOptions& options, const CommonOptions& common,
                         const Console& console);
Result<int> show_command(const ShowOptions& options, const CommonOptions& common,
                         const Console& console);
Result<int> train_command(const TrainOptions& options, const CommonOptions& common,
                          const Console& console);
Result<int> profile_command(const ProfileCommand& options, const CommonOptions& common,
                            const Console& console);
Result<int> tune_command(const TuneOptions& options, const CommonOptions& common,
                         const Console& console);
Result<int> version_command(const CommonOptions& common, const Console& console);

}  // namespace narrows

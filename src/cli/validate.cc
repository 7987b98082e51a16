// `narrows validate`: predicts published runs and prints the errors.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "accuracy/few_runs.h"
#include "cli/commands.h"
#include "cli/profiles.h"
#include "report/validation_text.h"

namespace narrows {
namespace {

bool exceeds(const std::optional<double>& error, const std::optional<double>& limit) {
  return limit && (!error || *error > *limit);
}

Result<ValidationReport> validated_runs(const std::vector<Run>& runs, const RunInputs& inputs,
                                        const ValidateOptions& options) {
  if (options.calibrate > 0)
    return validate_calibrated(runs, inputs, options.calibrate, options.group);
  RunPredictor predictor(inputs.library, inputs.tables, inputs.overrides);
  return validate_runs(runs, predictor, options.group);
}

}  // namespace

Result<int> validate_command(const ValidateOptions& options, const CommonOptions& common,
                             const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const KernelTables tables = TRY(KernelTables::published());
  const std::vector<Run> runs =
      options.runs.empty() ? TRY(published_runs()) : TRY(read_runs(options.runs));
  const ValidationReport report = TRY(validated_runs(
      runs, {profiles.hardware, tables, profiles.software, common.threads}, options));
  console.out << (common.json ? to_json(report).text() + "\n" : text_of(report));
  const bool short_of = exceeds(report.summary.median_absolute, options.required.median) ||
                        exceeds(report.summary.p90_absolute, options.required.p90);
  return short_of ? kFellShort : kDone;
}

}  // namespace narrows

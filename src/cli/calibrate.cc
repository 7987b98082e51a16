// `narrows calibrate`: fits software profiles, to a user's own steps or to the published runs.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "accuracy/account.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/profiles.h"
#include "software/fitted.h"

namespace narrows {
namespace {

// Everything that is fitted to the published runs, from nothing but the profiles and the runs.
Result<int> calibrate_published(const CalibrateOptions& options, const CommonOptions& common,
                                const Console& console) {
  Profiles profiles = TRY(open_profiles(common.profiles));
  profiles.software.push_back(nothing_fitted());
  const KernelTables tables = TRY(KernelTables::published());
  const std::vector<Run> runs = TRY(published_runs());
  RunSet set(runs, {profiles.hardware, tables, profiles.software, common.threads});
  const Account account = account_of(set);
  const std::vector<std::string> broken = limits_broken(account.fitted.fits);
  if (!broken.empty()) return invalid(fmt::format("{}", fmt::join(broken, "; ")));
  TRY(write_file(options.out, overlay_of(account).text() + "\n"));
  if (options.report) TRY(write_file(*options.report, to_json(account).text() + "\n"));
  console.out << fmt::format(
      "In sample: median of groups {:.1f} %, 90th percentile {:.1f} %; left out: {:.1f} %, "
      "{:.1f} %\n",
      100 * account.in_sample.median_of_groups.value_or(1),
      100 * account.in_sample.summary.p90_absolute.value_or(1),
      100 * account.left_out.median_of_groups.value_or(1),
      100 * account.left_out.summary.p90_absolute.value_or(1));
  return kDone;
}

}  // namespace

Result<int> calibrate_command(const CalibrateOptions& options, const CommonOptions& common,
                              const Console& console) {
  if (options.published) return calibrate_published(options, common, console);
  return unsupported("calibrate: steps of one's own are not built yet");
}

}  // namespace narrows

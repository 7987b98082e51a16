// `narrows calibrate`: fits software profiles, to a user's own steps or to the published runs.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "accuracy/account.h"
#include "accuracy/few_runs.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/profiles.h"
#include "report/text_table.h"
#include "software/figures.h"
#include "software/library.h"
#include "software/profile_json.h"

namespace narrows {
namespace {

// Everything that is fitted to the published runs, from nothing but the profiles and the runs.
Result<int> calibrate_published(const CalibrateOptions& options, const CommonOptions& common,
                                const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const KernelTables tables = TRY(KernelTables::published());
  const std::vector<Run> runs = TRY(published_runs());
  const Account account =
      TRY(account_of(runs, {profiles.hardware, tables, profiles.software, common.threads}));
  const std::vector<std::string> broken = limits_broken(account.fitted.fits);
  if (!broken.empty()) return invalid(fmt::format("{}", fmt::join(broken, "; ")));
  TRY(write_file(options.out, overlay_of(account).text() + "\n"));
  if (options.report) {
    TRY(write_file(*options.report + ".json", to_json(account).text() + "\n"));
    TRY(write_file(*options.report + ".csv", runs_csv(account)));
  }
  console.out << fmt::format(
      "In sample: median of groups {:.1f} %, 90th percentile {:.1f} %; left out: {:.1f} %, "
      "{:.1f} %\n",
      100 * account.in_sample.median_of_groups.value_or(1),
      100 * account.in_sample.summary.p90_absolute.value_or(1),
      100 * account.left_out.median_of_groups.value_or(1),
      100 * account.left_out.summary.p90_absolute.value_or(1));
  return kDone;
}

// "median error 12.3 % before, 1.4 % after".
std::string errors_text(const FewRunsFit& fit) {
  return fmt::format("median error {:.1f} % before, {:.1f} % after", 100 * fit.median_before,
                     100 * fit.median_after);
}

Json to_json(const FewRunsFit& fit, const std::string& out) {
  Json figures = Json::object();
  for (const std::string& field : fit.figures)
    figures.set(field, rounded_figure(field, *figure_of(fit.software, field)));
  Json json = Json::object();
  json.set("software", fit.software.name);
  json.set("out", out);
  json.set("rows", fit.rows);
  json.set("figures", std::move(figures));
  json.set("median_abs_error_before", fit.median_before);
  json.set("median_abs_error_after", fit.median_after);
  return json;
}

Result<int> calibrate_steps(const CalibrateOptions& options, const CommonOptions& common,
                            const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const KernelTables tables = TRY(KernelTables::published());
  const std::vector<Run> runs = TRY(read_runs(options.steps));
  std::optional<SoftwareProfile> start;
  if (options.software) start = TRY(load_software(*options.software, profiles.software));
  const RunInputs inputs{profiles.hardware, tables, profiles.software, common.threads};
  const FewRunsFit fit = TRY(fit_to_runs(runs, inputs, start));
  TRY(write_file(options.out, narrows::to_json(fit.software).text() + "\n"));
  if (common.json) {
    console.out << to_json(fit, options.out).text() << "\n";
    return kDone;
  }
  console.out << fmt::format("{}: {} steps, {}\n", fit.software.name, fit.rows, errors_text(fit));
  TextTable table("lr");
  for (const std::string& field : fit.figures) {
    const Json value = rounded_figure(field, *figure_of(fit.software, field));
    table.row({field, value.is_string() ? value.string() : value.compact()});
  }
  console.out << table.text() << fmt::format("Use it with --software {}\n", options.out);
  return kDone;
}

}  // namespace

Result<int> calibrate_command(const CalibrateOptions& options, const CommonOptions& common,
                              const Console& console) {
  return options.published ? calibrate_published(options, common, console)
                           : calibrate_steps(options, common, console);
}

}  // namespace narrows

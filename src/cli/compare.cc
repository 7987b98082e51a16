// `narrows compare`: the same training on several clusters.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/search_job.h"
#include "report/comparison_view.h"

namespace narrows {
namespace {

struct Compared {
  ComparisonRow row;
  std::string title;
  std::vector<std::string> assumed;
  bool interrupted = false;
};

std::string title_of(const std::string& model, const Training& training) {
  std::string title =
      fmt::format("{}: {} sequences of {} a step", model, with_commas(training.global_batch),
                  with_commas(training.sequence));
  if (training.tokens > 0)
    title += fmt::format(", {} tokens", short_count(static_cast<double>(training.tokens)));
  return title;
}

Result<Compared> compare_one(const std::string& cluster, const CompareOptions& options,
                             const Profiles& profiles, const CommonOptions& common,
                             const Console& console) {
  JobOptions job_options = options.job;
  job_options.cluster = cluster;
  const LoadedJob loaded = TRY(load_job(job_options, profiles));
  const std::vector<ExportRule> rules = TRY(profiles.hardware.rules());
  Compared compared;
  compared.row = {cluster, loaded.cluster.chip.name, loaded.cluster.gpus, {}, {}, {}};
  compared.row.rules = TRY(classify(loaded.cluster.chip, rules, options.rules));
  SearchedJob searched = TRY(search_job(loaded, {1, options.time_limit}, common, console));
  if (auto* plan = std::get_if<PlanView>(&searched.view)) {
    compared.row.plan = std::move(*plan);
  } else {
    compared.row.infeasible = std::get<InfeasibleView>(searched.view);
  }
  compared.title = title_of(loaded.model.name, loaded.training);
  compared.assumed = loaded.assumed;
  compared.interrupted = searched.interrupted;
  return compared;
}

}  // namespace

Result<int> compare_command(const CompareOptions& options, const CommonOptions& common,
                            const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  ComparisonView view;
  bool interrupted = false;
  bool any_fits = false;
  std::vector<std::string> assumed;
  for (const std::string& cluster : options.clusters) {
    if (interrupted) break;
    Result<Compared> compared = compare_one(cluster, options, profiles, common, console);
    if (!compared) {
      const Error& error = compared.error();
      return tl::unexpected(error.message.starts_with(cluster) ? error : error.within(cluster));
    }
    view.title = compared->title;
    for (const std::string& line : compared->assumed)
      assumed.push_back(fmt::format("{}: {}", cluster, line));
    any_fits |= compared->row.plan.has_value();
    interrupted |= compared->interrupted;
    view.rows.push_back(std::move(compared->row));
  }
  print_assumed(assumed, common, console);
  console.out << (common.json ? to_json(view).text() + "\n" : text_of(view));
  if (interrupted) return kInterrupted;
  return any_fits ? kDone : kInfeasible;
}

}  // namespace narrows

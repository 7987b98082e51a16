// `narrows plan`: the best plan, and how good it is proven to be.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/nearest.h"
#include "cli/search_job.h"

namespace narrows {

Result<int> plan_command(const PlanOptions& options, const CommonOptions& common,
                         const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const LoadedJob loaded = TRY(load_job(options.job, profiles));
  SearchedJob searched =
      TRY(search_job(loaded, {options.top, options.time_limit}, common, console));
  auto* view = std::get_if<PlanView>(&searched.view);
  if (view != nullptr) view->nearest_runs = TRY(nearest_to(view->plan, profiles));
  if (view != nullptr && options.out) TRY(write_file(*options.out, text_of(view->plan)));
  print_assumed(loaded.assumed, common, console);
  if (searched.interrupted && !common.quiet)
    console.err << "interrupted: this is the best so far\n";
  if (view == nullptr) {
    const auto& infeasible = std::get<InfeasibleView>(searched.view);
    console.out << (common.json ? to_json(infeasible).text() + "\n" : text_of(infeasible));
    return kInfeasible;
  }
  console.out << (common.json ? to_json(*view).text() + "\n" : text_of(*view));
  return searched.interrupted ? kInterrupted : kDone;
}

}  // namespace narrows

// `narrows simulate`: plays a plan file, also on changed hardware.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/job.h"
#include "cli/local.h"
#include "cli/nearest.h"
#include "cli/play_plan.h"
#include "cli/profiles.h"
#include "cli/search_job.h"
#include "cli/settings.h"
#include "report/perfetto.h"

namespace narrows {
namespace {

// The plan with the cluster and the figures that the options ask for.
Result<Plan> changed_plan(const SimulateOptions& options, const CommonOptions& common) {
  Plan plan = TRY(read_plan(options.plan));
  if (options.cluster) {
    const Profiles profiles = TRY(open_profiles(common.profiles));
    Cluster cluster = TRY(profiles.hardware.cluster(*options.cluster));
    if (cluster.gpus != plan.cluster.gpus) {
      return invalid(fmt::format("--cluster {}: expected the plan's {} GPUs, found {}",
                                 *options.cluster, with_commas(plan.cluster.gpus),
                                 with_commas(cluster.gpus)));
    }
    plan.cluster = std::move(cluster);
  }
  TRY(apply(options.settings, plan.model, plan.cluster, plan.software));
  return plan;
}

void print(const PlayedPlan& played, const CommonOptions& common, const Console& console) {
  if (played.fits) {
    console.out << (common.json ? to_json(played.view).text() + "\n" : text_of(played.view));
  } else {
    const InfeasibleView view = infeasible_view(played);
    console.out << (common.json ? to_json(view).text() + "\n" : text_of(view));
  }
}

}  // namespace

Result<int> simulate_command(const SimulateOptions& options, const CommonOptions& common,
                             const Console& console) {
  const Plan plan = TRY(changed_plan(options, common));
  const PricePerTime price = options.price.value_or(plan.cluster.price.value);
  const std::vector<Measurement> measured = TRY(rows_of_machine(plan.cluster, options.db));
  Result<PlayedPlan> result = play_plan(plan, price, measured);
  if (!result) return tl::unexpected(result.error().within(options.plan));
  PlayedPlan& played = *result;
  if (played.fits) {
    const Profiles profiles = TRY(open_profiles(common.profiles));
    played.view.nearest_runs = TRY(nearest_to(played.view.plan, profiles));
  }
  played.view.price_basis = options.price ? "--price" : price_basis_of(plan.cluster);
  if (plan.forecast && plan.forecast->step != played.view.plan.forecast->step)
    played.view.stated_step = plan.forecast->step;
  if (!options.price && price > PricePerTime())
    played.view.assumed.push_back(
        fmt::format("price ${:.2f} a GPU-hour: {}", price / (usd / hour), played.view.price_basis));
  if (options.trace)
    TRY(write_file(*options.trace,
                   perfetto_trace(played.timeline,
                                  fmt::format("{} on {}", plan.model.name, plan.cluster.name))));
  if (options.out) TRY(write_file(*options.out, text_of(played.view.plan)));
  print_assumed(played.view.assumed, common, console);
  print(played, common, console);
  return played.fits ? kDone : kInfeasible;
}

}  // namespace narrows

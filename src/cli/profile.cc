// `narrows profile`: kernels and links of this machine into the store.
// SPDX-License-Identifier: Apache-2.0
#include "measure/profile.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/keeper.h"
#include "cli/own_measurements.h"
#include "cli/profile_cases.h"
#include "cli/profile_gpu.h"
#include "cli/profiles.h"
#include "cli/progress.h"
#include "measure/machine.h"
#include "measure/shapes.h"
#include "runtime/cpu_backend.h"
#include "runtime/world.h"
#include "store/profile_text.h"

namespace narrows {
namespace {

std::vector<Recipe> recipes_of(const MachineInfo&) { return {Recipe::F32, Recipe::Bf16}; }

Result<std::vector<OpCase>> cases_for(const ProfileCommand& command, const Profiles& profiles,
                                      const MachineInfo& info, int ranks) {
  const std::vector<Recipe> recipes = recipes_of(info);
  if (command.links_only) return std::vector<OpCase>{};
  if (!command.model) return general_cases(recipes);
  ShapeSpace space;
  space.ranks = ranks;
  space.recipes = recipes;
  space.makes_bf16 = make_cpu_backend(1)->makes_bf16();
  return cases_of_model(command, profiles, space, "narrows");
}

int ranks_of(const ProfileCommand& command, const MachineInfo& info) {
  if (job_size() > 0) return job_size();
  return command.ranks.value_or(info.processors);
}

void say(const ProfileSummary& done, const Keeper& keeper, const std::string& path,
         const Machine& machine, const Console& console) {
  console.out << fmt::format("{}: {} ({}), {}\n", machine.chip, machine.device, machine.libraries,
                             machine.driver);
  console.out << fmt::format("{} of {} ops and messages timed in {:.0f} s, {} known before\n",
                             with_commas(done.measured), with_commas(done.cases - done.known),
                             done.elapsed / sec, with_commas(done.known));
  console.out << fmt::format("{} rows into {}\n", with_commas(keeper.kept()), path);
}

}  // namespace

Result<int> profile_command(const ProfileCommand& command, const CommonOptions& common,
                            const Console& console) {
  if (command.device != "cpu") return profile_gpu_command(command, common, console);
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const MachineInfo info = this_machine();
  const int ranks = ranks_of(command, info);
  const Machine machine = fingerprint_of(info, ranks);
  const std::string path = TRY(store_path(command.db, true));
  const bool leads = leads_job();
  std::optional<Keeper> keeper;
  ProfileOptions options;
  if (leads) keeper.emplace(TRY(Store::open(path)), machine);
  // All processes of a job leave out the same. The first may be making the store just now: then it
  // is empty.
  const Result<OwnMeasurements> known = own_measurements(path, machine.chip);
  if (!known && leads) return tl::unexpected(known.error());
  if (known) options.known = known_keys(*known, options.rules.least);
  options.ranks = ranks;
  options.rules.budget = command.budget;
  options.cases = TRY(cases_for(command, profiles, info, ranks));
  // Without these nothing can be planned, so that no budget is too short for them.
  options.rules.first = static_cast<int>(rate_cases(recipes_of(info)).size());
  options.method = job_size() > 0 ? "mpi" : "threads";
  options.stop = console.stop;
  if (command.links_only) options.links_share = 1;
  Progress progress(console, common.quiet);
  ProfileEvents events;
  events.progress = [&](const std::string& what, const BenchProgress& p) {
    progress.show(fmt::format("{}: {} of {}, at most {:.0f} s left", what, p.finished, p.tasks,
                              (p.budget - p.elapsed) / sec),
                  0);
  };
  events.kernel = [&](const KernelObservation& seen) { return keeper->add(seen); };
  events.link = [&](const LinkObservation& seen) { return keeper->add(seen); };
  const ProfileSummary done = TRY(profile_machine(
      options, [] { return make_cpu_backend(1); }, events));
  progress.clear();
  if (!leads) return kDone;
  if (done.pace.calibrations > 0) {
    for (const KernelObservation& row : pace_rows(done.pace)) TRY(keeper->add(row));
  }
  TRY(keeper->flush());
  if (command.out) {
    const std::string text = TRY(profile_text(keeper->store(), machine.chip));
    TRY(write_file(*command.out, text));
  }
  say(done, *keeper, path, machine, console);
  return console.stop != nullptr && console.stop->load() ? kInterrupted : kDone;
}

}  // namespace narrows

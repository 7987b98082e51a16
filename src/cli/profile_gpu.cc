// SPDX-License-Identifier: Apache-2.0
#include "cli/profile_gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/keeper.h"
#include "cli/profile_cases.h"
#include "cli/progress.h"
#include "measure/gpu_profile.h"
#include "store/device_names.h"
#include "store/profile_text.h"

namespace narrows {
namespace {

// The stack whose op graphs are timed: the one that plans for GPUs use unless told otherwise.
constexpr const char* kSoftware = "megatron-core";
// Over how many GPUs plans may divide an op, unless told.
constexpr int kRanks = 8;

Seconds wall_clock() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count() * sec;
}

// Block-scaled E4M3 multiplies on Hopper and later.
std::vector<Recipe> recipes_of(const gpu::DeviceInfo& device) {
  std::vector<Recipe> recipes = {Recipe::Bf16};
  if (device.major >= 9) recipes.push_back(Recipe::Fp8Block);
  return recipes;
}

Result<std::vector<OpCase>> cases_for(const ProfileCommand& command, const Profiles& profiles,
                                      const gpu::DeviceInfo& device) {
  if (!command.model) return general_cases(recipes_of(device));
  ShapeSpace space;
  space.ranks = command.ranks.value_or(kRanks);
  space.recipes = recipes_of(device);
  space.on_gpu = true;
  return cases_of_model(command, profiles, space, kSoftware);
}

// "h100-sxm5", or the driver's name where no profile bears it.
std::string chip_of(const gpu::DeviceInfo& device) {
  const std::string chip = chip_of_device(device.name);
  return chip.empty() ? std::string(device.name) : chip;
}

void say(const GpuProfileSummary& done, const Keeper& keeper, const std::string& path,
         const Machine& machine, const gpu::DeviceInfo& after, const Console& console) {
  console.out << fmt::format("{}: {}, driver {}, {}\n", machine.chip, machine.device,
                             machine.driver, machine.libraries);
  console.out << fmt::format(
      "clock {:.0f} MHz of {:.0f}, memory {:.0f}, {:.0f} W, {:.0f} C, held down by {}\n",
      after.clock / 1e6, after.clock_most / 1e6, after.memory_clock / 1e6, after.power,
      after.temperature, after.throttled[0] == '\0' ? "nothing" : after.throttled);
  if (done.by_events) console.out << "times between events: CUPTI did not run\n";
  console.out << fmt::format("{} of {} ops timed in {:.0f} s, {} known before\n",
                             with_commas(done.measured), with_commas(done.cases - done.known),
                             done.elapsed / sec, with_commas(done.known));
  for (const auto& [why, count] : done.refused)
    console.out << fmt::format("{} not timed: {}\n", with_commas(count), why);
  console.out << fmt::format("{} rows into {}\n", with_commas(keeper.kept()), path);
}

}  // namespace

Result<int> profile_gpu_command(const ProfileCommand& command, const CommonOptions& common,
                                const Console& console) {
  if (command.links_only)
    return unsupported(
        "--links: of GPUs they are measured by nccl-tests, which narrows import reads");
  Result<const gpu::Api*> module = load_gpu_module();
  if (!module) return tl::unexpected(module.error().within("--device cuda"));
  Result<Gpu> opened = Gpu::open(**module);
  if (!opened) return tl::unexpected(opened.error().within("--device cuda"));
  Gpu gpu = std::move(*opened);
  const gpu::DeviceInfo device = TRY(gpu.info());
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const Machine machine = fingerprint_of(device, chip_of(device));
  const std::string path = TRY(store_path(command.db, true));
  Keeper keeper(TRY(Store::open(path)), machine);
  GpuProfileOptions options;
  options.budget = command.budget;
  options.cases = TRY(cases_for(command, profiles, device));
  const OwnMeasurements known = TRY(own_measurements(path, machine.chip));
  options.known = known_keys(known, options.rules.samples);
  options.now = wall_clock;
  options.stop = console.stop;
  Progress progress(console, common.quiet);
  GpuProfileEvents events;
  events.progress = [&](const BenchProgress& p) {
    progress.show(fmt::format("timing ops: {} of {}, at most {:.0f} s left", p.finished, p.tasks,
                              (p.budget - p.elapsed) / sec),
                  0);
  };
  events.kernel = [&](const KernelObservation& seen) { return keeper.add(seen); };
  const Result<GpuProfileSummary> done = profile_gpu(gpu, options, events);
  progress.clear();
  TRY(keeper.flush());
  if (!done) return tl::unexpected(done.error());
  if (command.out) {
    const std::string text = TRY(profile_text(keeper.store(), machine.chip));
    TRY(write_file(*command.out, text));
  }
  say(*done, keeper, path, machine, TRY(gpu.info()), console);
  return console.stop != nullptr && console.stop->load() ? kInterrupted : kDone;
}

}  // namespace narrows

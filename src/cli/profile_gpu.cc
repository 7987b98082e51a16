// SPDX-License-Identifier: Apache-2.0
#include "cli/profile_gpu.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/keeper.h"
#include "cli/profile_cases.h"
#include "cli/profile_gpu_links.h"
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
// Of the budget, what links may take beside ops.
constexpr double kLinksShare = 0.3;

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
  if (command.links_only) return std::vector<OpCase>{};
  if (!command.model) return general_cases(recipes_of(device));
  ShapeSpace space;
  space.ranks = command.ranks.value_or(kRanks);
  space.recipes = recipes_of(device);
  space.on_gpu = true;
  return cases_of_model(command, profiles, space, kSoftware);
}

void show(Progress& progress, const char* what, const BenchProgress& p) {
  progress.show(fmt::format("{}: {} of {}, at most {:.0f} s left", what, p.finished, p.tasks,
                            (p.budget - p.elapsed) / sec),
                0);
}

// "h100-sxm5", or the driver's name where no profile bears it.
std::string chip_of(const gpu::DeviceInfo& device) {
  const std::string chip = chip_of_device(device.name);
  return chip.empty() ? std::string(device.name) : chip;
}

// Libraries are opened when they are first used, and stand in the fingerprint from then on.
void open_libraries(Gpu& gpu) {
  GpuWork matmul;
  matmul.matmul = {exactly(128), 128, 128, 1};
  static_cast<void>(time_on_gpu(gpu, matmul, {.warm = 0, .samples = 1, .kernels = true}));
  static_cast<void>(time_on_gpu(gpu, matmul, {.warm = 0, .samples = 1, .kernels = false}));
  if (count_gpus(gpu.api()).value_or(1) > 1) static_cast<void>(gpu.unique_id());
}

// What all parts of the command use.
struct Profiling {
  Gpu& gpu;
  const ProfileCommand& command;
  const Console& console;
  const OwnMeasurements& known;
  Keeper& keeper;
  Progress& progress;
};

struct TimedLinks {
  Status status;  // that they failed is no reason not to time ops
  GpuLinkSummary summary;
  LargestLinks largest;
};
TimedLinks time_links(const Profiling& site) {
  TimedLinks links;
  GpuLinkOptions options;
  options.rules.budget = (site.command.links_only ? 1 : kLinksShare) * site.command.budget;
  options.known = known_keys(site.known, 0);
  options.now = wall_clock;
  options.stop = site.console.stop;
  GpuLinkEvents events;
  events.progress = [&](const BenchProgress& p) { show(site.progress, "timing links", p); };
  events.link = [&](const LinkObservation& seen) {
    links.largest.add(seen.what);
    return site.keeper.add(seen);
  };
  events.broken = [&](const Error& error) {
    site.console.err << "narrows: links: " << error.message << std::endl;
    std::_Exit(1);
  };
  const Result<GpuLinkSummary> done = profile_gpu_links(site.gpu.api(), options, events);
  site.progress.clear();
  if (done) links.summary = *done;
  if (!done) links.status = tl::unexpected(done.error().within("links"));
  return links;
}

Result<GpuProfileSummary> time_ops(const Profiling& site, std::vector<OpCase> cases,
                                   Seconds budget) {
  GpuProfileOptions options;
  options.budget = budget;
  options.cases = std::move(cases);
  options.known = known_keys(site.known, options.rules.samples);
  options.now = wall_clock;
  options.stop = site.console.stop;
  GpuProfileEvents events;
  events.progress = [&](const BenchProgress& p) { show(site.progress, "timing ops", p); };
  events.kernel = [&](const KernelObservation& seen) { return site.keeper.add(seen); };
  Result<GpuProfileSummary> done = profile_gpu(site.gpu, options, events);
  site.progress.clear();
  return done;
}

void say(const GpuProfileSummary& done, const TimedLinks& links, const Console& console) {
  if (links.status) console.out << text_of(links.summary) << links.largest.text();
  if (!links.status) console.out << "not timed: " << links.status.error().message << "\n";
  if (done.cases == 0) return;
  if (done.by_events) console.out << "times between events: CUPTI did not run\n";
  console.out << fmt::format("{} of {} ops timed in {:.0f} s, {} known before\n",
                             with_commas(done.measured), with_commas(done.cases - done.known),
                             done.elapsed / sec, with_commas(done.known));
  for (const auto& [why, count] : done.refused)
    console.out << fmt::format("{} not timed: {}\n", with_commas(count), why);
}

void say_device(const Machine& machine, const gpu::DeviceInfo& after, const Console& console) {
  console.out << fmt::format("{}: {}, driver {}, {}\n", machine.chip, machine.device,
                             machine.driver, machine.libraries);
  console.out << fmt::format(
      "clock {:.0f} MHz of {:.0f}, memory {:.0f}, {:.0f} W, {:.0f} C, held down by {}\n",
      after.clock / 1e6, after.clock_most / 1e6, after.memory_clock / 1e6, after.power,
      after.temperature, after.throttled[0] == '\0' ? "nothing" : after.throttled);
}

}  // namespace

Result<int> profile_gpu_command(const ProfileCommand& command, const CommonOptions& common,
                                const Console& console) {
  Result<const gpu::Api*> module = load_gpu_module();
  if (!module) return tl::unexpected(module.error().within("--device cuda"));
  Result<Gpu> opened = Gpu::open(**module);
  if (!opened) return tl::unexpected(opened.error().within("--device cuda"));
  Gpu gpu = std::move(*opened);
  open_libraries(gpu);
  const gpu::DeviceInfo device = TRY(gpu.info());
  const Profiles profiles = TRY(open_profiles(common.profiles));
  std::vector<OpCase> cases = TRY(cases_for(command, profiles, device));
  const Machine machine = fingerprint_of(device, chip_of(device));
  const std::string path = TRY(store_path(command.db, true));
  Keeper keeper(TRY(Store::open(path)), machine);
  const OwnMeasurements known = TRY(own_measurements(path, machine.chip));
  Progress progress(console, common.quiet);
  const Profiling site{gpu, command, console, known, keeper, progress};
  const TimedLinks links = time_links(site);
  if (command.links_only) TRY(links.status);
  const Seconds left = max(command.budget - links.summary.elapsed, Seconds());
  const Result<GpuProfileSummary> done = time_ops(site, std::move(cases), left);
  TRY(keeper.flush());
  if (!done) return tl::unexpected(done.error());
  if (command.out) {
    const std::string text = TRY(profile_text(keeper.store(), machine.chip));
    TRY(write_file(*command.out, text));
  }
  say_device(machine, TRY(gpu.info()), console);
  say(*done, links, console);
  console.out << fmt::format("{} rows into {}\n", with_commas(keeper.kept()), path);
  return console.stop != nullptr && console.stop->load() ? kInterrupted : kDone;
}

}  // namespace narrows

// `narrows list`: what is built in, or stands in the user's own folder.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/profiles.h"
#include "cli/show_parts.h"
#include "model/builtin.h"
#include "model/parameters.h"
#include "report/profile_view.h"
#include "report/text_table.h"
#include "schedule/library.h"
#include "software/library.h"

namespace narrows {
namespace {

std::string count_or_dash(std::int64_t n) {
  return n > 0 ? short_count(static_cast<double>(n)) : "-";
}

std::string price_text(const Cluster& cluster) {
  if (!(cluster.price.value > PricePerTime())) return "-";
  return fmt::format("${:.2f}", cluster.price.value / (usd / hour));
}

Result<ListView> list_models(const Profiles& profiles) {
  ListView view{"models",
                {"name", "parameters", "active", "layers", "hidden", "tokens", "batch", "recipe"},
                "lrrrrrrl",
                {},
                "`narrows show NAME` prints one of them with its sources."};
  for (const std::string& name : builtin_model_names(profiles.models)) {
    const BuiltinModel model = TRY(builtin_model(name, profiles.models));
    const ParameterCount count = count_parameters(model.spec);
    const PublishedTraining training = model.training.value_or(PublishedTraining{});
    view.rows.push_back({name, short_count(count.total), short_count(count.active),
                         fmt::format("{}", model.spec.layers), with_commas(model.spec.hidden),
                         count_or_dash(training.tokens),
                         training.global_batch > 0 ? with_commas(training.global_batch) : "-",
                         training.recipe.empty() ? "-" : training.recipe});
  }
  return view;
}

Result<ListView> list_clusters(const Profiles& profiles) {
  ListView view{"clusters",
                {"name", "GPUs", "chip", "network_GBs", "price", "software"},
                "lrlrrl",
                {},
                "NODE:N is N GPUs of a node type on its default fabric: h100:1024. network_GBs is "
                "the usable bandwidth of a GPU, one direction, on the outermost level."};
  const auto add = [&](const Cluster& cluster, const std::string& name, const std::string& gpus) {
    const std::string network =
        cluster.levels.empty()
            ? "-"
            : fmt::format("{:.0f}", cluster.levels.back().usable.value / (GB / sec));
    view.rows.push_back({name, gpus, cluster.chip.name, network, price_text(cluster),
                         cluster.software.empty() ? "-" : cluster.software});
  };
  for (const std::string& name : profiles.hardware.clusters()) {
    const Cluster cluster = TRY(profiles.hardware.cluster(name));
    add(cluster, name, with_commas(cluster.gpus));
  }
  for (const std::string& name : profiles.hardware.nodes())
    add(TRY(profiles.hardware.node(name)), name + ":N", "N");
  return view;
}

std::string rate_text(const Chip& chip, const char* format) {
  const auto peak = chip.peak.find(format);
  return peak == chip.peak.end() ? "-" : fmt::format("{:.1f}", peak->second.value / (TFLOP / sec));
}

Result<ListView> list_chips(const Profiles& profiles) {
  ListView view{"chips",
                {"name", "title", "bf16_TFLOPs", "fp8_TFLOPs", "memory", "TBs", "link_GBs"},
                "llrrrrr",
                {},
                "Dense peaks; link_GBs is one direction. `narrows show NAME --rules` says what "
                "export rules say of a chip."};
  for (const std::string& name : profiles.hardware.chips()) {
    const Chip chip = TRY(profiles.hardware.chip(name));
    view.rows.push_back({name, chip.title, rate_text(chip, "bf16"), rate_text(chip, "fp8"),
                         fmt::format("{:.0f} GB", chip.memory.value / GB),
                         fmt::format("{:.2f}", chip.memory_bandwidth.value / (TB / sec)),
                         chip.link ? fmt::format("{:.0f}", chip.link->value / (GB / sec)) : "-"});
  }
  return view;
}

Result<ListView> list_software(const Profiles& profiles) {
  ListView view{"software", {"name", "title", "schedules"}, "lll", {}, ""};
  for (const std::string& name : software_names(profiles.software)) {
    const SoftwareProfile software = TRY(find_software(name, profiles.software));
    std::string schedules;
    for (const ScheduleKind kind : software.schedules)
      schedules += (schedules.empty() ? "" : " ") + to_string(kind);
    view.rows.push_back({name, software.title, schedules});
  }
  return view;
}

ListView list_schedules() {
  ListView view{
      "schedules", {"name", "chunks_a_rank", "what"}, "lrl", {}, "Not built yet: v-half, v-min."};
  for (const ScheduleKind kind : all_schedules()) {
    const auto chunks = fixed_chunks(kind);
    view.rows.push_back(
        {to_string(kind), chunks ? fmt::format("{}", *chunks) : "vpp", schedule_words(kind)});
  }
  return view;
}

Result<ListView> list_rules(const Profiles& profiles) {
  ListView view{"rules", {"id", "from", "until", "title"}, "llll", {}, ""};
  for (const ExportRule& rule : TRY(profiles.hardware.rules()))
    view.rows.push_back({rule.id, rule.date, rule.until.empty() ? "-" : rule.until, rule.title});
  return view;
}

Result<ListView> list_of(const std::string& what, const Profiles& profiles) {
  if (what == "models") return list_models(profiles);
  if (what == "clusters") return list_clusters(profiles);
  if (what == "chips") return list_chips(profiles);
  if (what == "software") return list_software(profiles);
  if (what == "rules") return list_rules(profiles);
  return list_schedules();
}

}  // namespace

std::string schedule_words(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::GPipe:
      return "all forwards, then all backwards (huang2019)";
    case ScheduleKind::OneFOneB:
      return "forward and backward in turn (narayanan2019)";
    case ScheduleKind::Interleaved:
      return "1f1b over several chunks a rank (narayanan2021)";
    case ScheduleKind::ZbH1:
      return "backward split, W behind I by the rank (qi2023)";
    case ScheduleKind::ZbH2:
      return "as zb-h1 with twice the lag and memory (qi2023)";
    case ScheduleKind::ZbV:
      return "two chunks a rank in a V, backward split (qi2024)";
    case ScheduleKind::DualPipe:
      return "two directions, forward under backward (deepseek2024)";
    case ScheduleKind::DualPipeV:
      return "DualPipe folded into a V on half the ranks (sea2025)";
  }
  return "";
}

Result<int> list_command(const ListOptions& options, const CommonOptions& common,
                         const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const ListView view = TRY(list_of(options.what, profiles));
  console.out << (common.json ? to_json(view).text() + "\n" : text_of(view));
  return kDone;
}

}  // namespace narrows

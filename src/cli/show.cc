// `narrows show`: one model, cluster, node, chip, training stack, schedule or rule, each number
// with its source. A name is looked up in that order.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/figures.h"
#include "cli/profiles.h"
#include "cli/show_parts.h"
#include "hardware/chip_json.h"
#include "hardware/cluster_json.h"
#include "model/builtin.h"
#include "software/library.h"
#include "software/profile_json.h"

namespace narrows {
namespace {

bool is_one_of(const std::string& name, const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<ProfileView> show_cluster(const std::string& kind, const Cluster& cluster,
                                 const ShowOptions& options, const Profiles& profiles) {
  ProfileView view{kind, cluster.name, cluster.title, {}, {}, to_json(cluster)};
  view.sections.push_back({"", rows_of(view.data, {"name", "title", "chip", "levels"}), {}});
  view.sections.push_back({"Levels of links, from the inside out", {}, {}});
  Json levels = Json::object();
  levels.set("levels", *view.data.find("levels"));
  view.sections.back().rows = rows_of(levels);
  view.sections.push_back(
      {fmt::format("Chip {}", cluster.chip.name), rows_of(*view.data.find("chip"), {"name"}), {}});
  TRY(add_rules(view, cluster.chip, options, profiles));
  return view;
}

Result<ProfileView> show_chip(const Chip& chip, const ShowOptions& options,
                              const Profiles& profiles) {
  ProfileView view{"chip", chip.name, chip.title, {}, {}, to_json(chip)};
  view.sections.push_back({"", rows_of(view.data, {"name", "title"}), {}});
  TRY(add_rules(view, chip, options, profiles));
  return view;
}

ProfileView show_software(const SoftwareProfile& software) {
  ProfileView view{"software", software.name, software.title, {}, {}, to_json(software)};
  view.sections.push_back({"", rows_of(view.data, {"name", "title", "notes"}), software.notes});
  return view;
}

Result<ProfileView> view_of(const ShowOptions& options, const Profiles& profiles) {
  const std::string& name = options.name;
  const ProfileLibrary& hardware = profiles.hardware;
  const Result<BuiltinModel> model = load_model(name, profiles.models);
  if (model) return show_model(*model);
  if (is_one_of(name, hardware.clusters()) || name.find(':') != std::string::npos)
    return show_cluster("cluster", TRY(hardware.cluster(name)), options, profiles);
  if (is_one_of(name, hardware.nodes()))
    return show_cluster("node", TRY(hardware.node(name)), options, profiles);
  if (is_one_of(name, hardware.chips()))
    return show_chip(TRY(hardware.chip(name)), options, profiles);
  if (is_one_of(name, software_names(profiles.software)))
    return show_software(TRY(find_software(name, profiles.software)));
  if (const auto kind = schedule_of(name)) return show_schedule(*kind);
  for (const ExportRule& rule : TRY(hardware.rules())) {
    if (rule.id == name) return show_rule(rule);
  }
  if (name.ends_with(".json") || name.find('/') != std::string::npos)
    return tl::unexpected(model.error());
  std::vector<std::string> known = builtin_model_names(profiles.models);
  for (const auto& names :
       {hardware.clusters(), hardware.nodes(), hardware.chips(), software_names(profiles.software)})
    known.insert(known.end(), names.begin(), names.end());
  const std::string near = closest(name, known);
  return not_found(fmt::format(
      "{}: expected the name of a model, cluster, node, chip, training stack, schedule or rule{}",
      name, near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
}

}  // namespace

Result<int> show_command(const ShowOptions& options, const CommonOptions& common,
                         const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  ProfileView view = TRY(view_of(options, profiles));
  view.sources = sources_of(view.sections, profiles.hardware);
  console.out << (common.json ? to_json(view).text() + "\n" : text_of(view));
  return kDone;
}

}  // namespace narrows

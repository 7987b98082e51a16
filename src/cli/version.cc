// `narrows --version`: the program's version and how old its data are.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/profiles.h"

namespace narrows {

Result<int> version_command(const CommonOptions& common, const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const std::string newest = TRY(profiles.hardware.newest_date());
  const auto rules = TRY(profiles.hardware.rules());
  std::string newest_rule = "none";
  if (!rules.empty()) newest_rule = rules.back().date;
  if (common.json) {
    Json object = Json::object();
    object.set("version", NARROWS_VERSION);
    object.set("data", newest);
    object.set("rules", newest_rule);
    console.out << object.text() << "\n";
  } else {
    console.out << fmt::format("narrows {}\ndata up to {}, export rules up to {}\n",
                               NARROWS_VERSION, newest, newest_rule);
  }
  return kDone;
}

}  // namespace narrows

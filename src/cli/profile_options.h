// The words of `narrows profile`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace CLI {
class App;
}

namespace narrows {

struct ProfileCommand {
  std::string device = "cpu";
  bool links_only = false;
  std::optional<std::string> model;
  std::optional<std::int64_t> sequence, global_batch;
  std::optional<int> ranks;  // else one a processor
  Seconds budget = 60 * sec;
  std::optional<std::string> db, out;
};

// Options as words; "" = not given.
struct RawProfile {
  std::string device, model, seq, global_batch, ranks, budget, db, out;
  bool links = false;
};
void add_profile(CLI::App& app, RawProfile& raw);
Result<ProfileCommand> profile_of(const RawProfile& raw);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cli/profile_options.h"

#include <CLI/CLI.hpp>

#include "cli/value.h"

namespace narrows {

void add_profile(CLI::App& app, RawProfile& raw) {
  CLI::App* profile =
      app.add_subcommand("profile", "Measure kernels and links of this machine into the store");
  profile->add_option("--device", raw.device, "cpu or cuda (cpu)");
  profile->add_flag("--links", raw.links, "links only");
  profile->add_option("--model", raw.model, "its ops at the shapes that plans would use");
  profile->add_option("--seq", raw.seq, "tokens of a sequence of that model");
  profile->add_option("--global-batch", raw.global_batch, "sequences a step of that model");
  profile->add_option("--ranks", raw.ranks, "ranks that run at once (one a processor)");
  profile->add_option("--budget", raw.budget, "seconds (60)");
  profile->add_option("--db", raw.db, "store ($XDG_DATA_HOME/narrows/measurements.db)");
  profile->add_option("--export", raw.out, "write this machine's measurements as text");
}

Result<ProfileCommand> profile_of(const RawProfile& raw) {
  ProfileCommand p;
  if (!raw.device.empty()) p.device = TRY(one_of({"--device", raw.device}, {"cpu", "cuda"}));
  p.links_only = raw.links;
  if (!raw.model.empty()) p.model = raw.model;
  if (!raw.seq.empty()) p.sequence = TRY(positive_count({"--seq", raw.seq}, true));
  if (!raw.global_batch.empty())
    p.global_batch = TRY(positive_count({"--global-batch", raw.global_batch}));
  if (!raw.ranks.empty()) p.ranks = TRY(positive_int({"--ranks", raw.ranks}));
  if (!raw.budget.empty()) p.budget = TRY(positive_seconds({"--budget", raw.budget}));
  if (!raw.db.empty()) p.db = raw.db;
  if (!raw.out.empty()) p.out = raw.out;
  return p;
}

}  // namespace narrows

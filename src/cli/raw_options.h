// The command line as CLI11 is told of it: each command's options, as words. What they mean is read
// in options.cc; who may be called is known here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"

namespace narrows {

inline constexpr const char* kBuilt[] = {"plan",     "simulate",  "compare", "diff",
                                         "validate", "calibrate", "import",  "list",
                                         "show",     "train",     "profile", "tune"};
inline constexpr const char* kNotBuilt[] = {"sweep", "recipe", "report", "export"};

// Options as words; "" = not given.
struct RawJob {
  std::string model, cluster, gpus, tokens, seq, global_batch, fix, precision, software, routing,
      price, db;
  std::vector<std::string> settings;
};
// Of all commands.
struct RawOptions {
  RawTrain train;
  RawProfile profile;
  std::string trials, trial_steps, launch;
  std::vector<std::string> links;
  std::string threads, profiles;
  RawJob job;
  std::string objective, top, time_limit, out, trace, plan, first, second, what, name, clusters,
      rules, spend, deadline, runs, group, calibrate, required, steps, report, chip, ranks, nodes;
  std::vector<std::string> files;
  bool show_rules = false, published = false;
};

// Gives the program its commands and options; `raw` and `common` are filled when it parses.
void describe(CLI::App& app, RawOptions& raw, CommonOptions& common);

// What the words of the command `name` say.
Result<Command> command_of(const std::string& name, const RawOptions& raw);
// The options of every command; `common` has those that are flags.
Result<CommonOptions> common_of(const RawOptions& raw, CommonOptions common);

}  // namespace narrows

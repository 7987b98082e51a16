// The words of the command line, parsed: one struct a command. Whatever does not parse (unknown
// command or option, a value that is none) ends here with exit code 2; nothing is read yet.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/units.h"
#include "cli/profile_options.h"
#include "cli/train_options.h"
#include "plan/training.h"
#include "planner/search.h"

namespace narrows {

inline constexpr int kDone = 0;
inline constexpr int kRefused = 1;
inline constexpr int kUsage = 2;
inline constexpr int kInfeasible = 3;
inline constexpr int kFellShort = 4;
inline constexpr int kInterrupted = 130;

// `--set cluster.levels.1.usable=25GB/s`.
struct Setting {
  std::string path;
  std::string value;
};

// For every command.
struct CommonOptions {
  bool json = false;
  bool quiet = false;
  std::optional<std::string> profiles;
  int threads = 1;
};

// What is trained, on what.
struct JobOptions {
  std::string model;
  std::string cluster;
  std::optional<int> gpus;
  std::optional<std::int64_t> tokens;
  std::optional<std::int64_t> sequence;
  std::optional<std::int64_t> global_batch;
  std::string fix;        // as parse_pins reads it; its form has been checked
  std::string precision;  // "" = not given
  std::optional<std::string> software;
  std::optional<Routing> routing;
  std::optional<PricePerTime> price;
  std::vector<Setting> settings;
  std::optional<std::string> db;  // a store whose rows come before the published ones
};

struct PlanOptions {
  JobOptions job;
  Objective objective = Objective::Time;
  int top = 5;
  Seconds time_limit;
  std::optional<std::string> out;
};

struct SimulateOptions {
  std::string plan;
  std::optional<std::string> cluster;
  std::vector<Setting> settings;
  std::optional<PricePerTime> price;
  std::optional<std::string> db;  // of a plan on ranks of this machine
  std::optional<std::string> trace;
  std::optional<std::string> out;
};

struct CompareOptions {
  JobOptions job;  // its cluster is empty
  std::vector<std::string> clusters;
  std::optional<std::string> rules;
  Seconds time_limit;
};

struct TuneOptions {
  JobOptions job;
  int trials = 4;                  // plans to try
  int steps = 5;                   // of each trial, after one that does not count
  std::string launch;              // a command that starts ranks as processes; "" = threads
  std::vector<std::string> links;  // --emulate-links
  std::optional<std::string> out;
};

struct DiffOptions {
  std::string first;
  std::string second;
};

// Limits that --require sets; an error is a share.
struct RequiredErrors {
  std::optional<double> median;
  std::optional<double> p90;
};

struct ValidateOptions {
  std::string runs;   // a file, "" = the published runs that are built in
  std::string group;  // "" = all
  int calibrate = 0;  // runs of each (group, chip) that software is fitted to first
  RequiredErrors required;
};

struct CalibrateOptions {
  std::string steps;                    // a user's measured steps; "" with `published`
  bool published = false;               // fit the built-in profiles to the published runs
  std::string out;                      // the profile, or the overlay of the built-in ones
  std::optional<std::string> report;    // with `published`: the account, without ".json"
  std::optional<std::string> software;  // the profile to start from, else the steps' own
};

struct ImportOptions {
  std::vector<std::string> files;
  std::optional<std::string> db;   // else the default store
  std::string chip;                // "" = as the files say
  std::optional<int> ranks;        // of logs that do not say it
  int nodes = 1;                   // of a topology
  std::optional<std::string> out;  // where a topology's cluster goes, else stdout
};

struct ListOptions {
  std::string what;
};

struct ShowOptions {
  std::string name;
  bool rules = false;
};

// `--help`, `--version` and what is not built: words to print, and where.
struct Words {
  int exit = kDone;
  std::string text;  // to stdout with exit code 0, else to stderr
};
struct VersionOptions {};

using Command = std::variant<Words, VersionOptions, PlanOptions, SimulateOptions, CompareOptions,
                             DiffOptions, ValidateOptions, CalibrateOptions, ImportOptions,
                             ListOptions, ShowOptions, TrainOptions, ProfileCommand, TuneOptions>;

struct Invocation {
  CommonOptions common;
  Command command;
};

// `args` without the program's own name. Never fails: a refusal is `Words`.
Invocation parse_arguments(const std::vector<std::string>& args);

}  // namespace narrows

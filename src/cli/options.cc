// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <thread>

#include "base/text.h"
#include "cli/value.h"
#include "plan/pins.h"

namespace narrows {
namespace {

constexpr const char* kBuilt[] = {"plan",   "simulate", "compare", "diff",  "validate", "calibrate",
                                  "import", "list",     "show",    "train", "profile",  "tune"};
constexpr const char* kNotBuilt[] = {"sweep", "recipe", "report", "export"};

// Options as words; "" = not given.
struct RawJob {
  std::string model, cluster, gpus, tokens, seq, global_batch, fix, precision, software, routing,
      price, db;
  std::vector<std::string> settings;
};
struct Raw {
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

void add_training_options(CLI::App& command, RawJob& job) {
  command.add_option("--tokens", job.tokens, "tokens of the whole training, such as 14.8T");
  command.add_option("--seq", job.seq, "tokens of a sequence, such as 4K");
  command.add_option("--global-batch", job.global_batch, "sequences a step");
  command.add_option("--fix", job.fix, "pin fields of the layout: tp=8,pp=16,schedule=dualpipe");
  command.add_option("--precision", job.precision, "recipe, such as bf16 or fp8; auto searches");
  command.add_option("--software", job.software, "training stack, by name or file");
  command.add_option("--routing", job.routing, "of experts: balanced or natural");
  command.add_option("--price", job.price, "rent of a GPU, such as '$2/h'");
  command.add_option("--set", job.settings, "change a figure: cluster.levels.1.usable=25GB/s")
      ->allow_extra_args(false);
}

void add_plan(CLI::App& app, Raw& raw) {
  CLI::App* plan = app.add_subcommand("plan", "The best plan, and how good it is proven to be");
  plan->add_option("--model", raw.job.model, "built-in name or a config.json")->required();
  plan->add_option("--cluster", raw.job.cluster, "name, NODE:N, local[:N] or a file")->required();
  plan->add_option("--gpus", raw.job.gpus, "the first N GPUs of the cluster");
  add_training_options(*plan, raw.job);
  plan->add_option("--objective", raw.objective, "time, cost or energy");
  plan->add_option("--top", raw.top, "how many alternatives to show (5)");
  plan->add_option("--time-limit", raw.time_limit, "seconds of search");
  plan->add_option("--db", raw.job.db, "store whose measurements come before the published ones");
  plan->add_option("--out", raw.out, "write the plan file");
}

void add_tune(CLI::App& app, Raw& raw) {
  CLI::App* tune = app.add_subcommand(
      "tune", "Plan, try the best plans for a few steps, and plan again with what was measured");
  tune->add_option("--model", raw.job.model, "built-in name or a config.json")->required();
  tune->add_option("--cluster", raw.job.cluster, "local[:N]")->required();
  add_training_options(*tune, raw.job);
  tune->add_option("--trials", raw.trials, "plans to try (4)");
  tune->add_option("--steps", raw.trial_steps, "steps of a trial (5)");
  tune->add_option("--launch", raw.launch, "starts a trial's ranks as processes: 'mpirun -np 2'");
  tune->add_option("--emulate-links", raw.links, "LEVEL=BANDWIDTH,LATENCY in the trials")
      ->allow_extra_args(false);
  tune->add_option("--db", raw.job.db, "store ($XDG_DATA_HOME/narrows/measurements.db)");
  tune->add_option("--out", raw.out, "write the best plan's file");
}

void add_simulate(CLI::App& app, Raw& raw) {
  CLI::App* simulate = app.add_subcommand("simulate", "Play a plan file, also on changed hardware");
  simulate->add_option("PLAN", raw.plan, "plan file, - for stdin")->required();
  simulate->add_option("--cluster", raw.job.cluster, "another cluster of as many GPUs");
  simulate->add_option("--set", raw.job.settings, "change a figure: cluster.chip.clock=1.5GHz")
      ->allow_extra_args(false);
  simulate->add_option("--price", raw.job.price, "rent of a GPU, such as '$2/h'");
  simulate->add_option("--db", raw.job.db, "store that prices a plan on ranks of this machine");
  simulate->add_option("--trace", raw.trace, "write a trace for Perfetto or chrome://tracing");
  simulate->add_option("--out", raw.out, "write the plan file with its new forecast");
}

void add_compare(CLI::App& app, Raw& raw) {
  CLI::App* compare = app.add_subcommand(
      "compare", "The same training on several clusters: time, money, energy, export rules");
  compare->add_option("--model", raw.job.model, "built-in name or a config.json")->required();
  compare->add_option("--clusters", raw.clusters, "A,B,...: names, NODE:N or files")->required();
  add_training_options(*compare, raw.job);
  compare->add_option("--rules", raw.rules, "export rules of a DATE, or one by id; all");
  compare->add_option("--time-limit", raw.time_limit, "seconds of search for each cluster");
  compare->add_option("--spend", raw.spend, "not built yet");
  compare->add_option("--deadline", raw.deadline, "not built yet");
}

void add_others(CLI::App& app, Raw& raw) {
  CLI::App* diff = app.add_subcommand("diff", "Two plan files side by side, and why one is faster");
  diff->add_option("A", raw.first, "plan file")->required();
  diff->add_option("B", raw.second, "plan file")->required();
  CLI::App* validate =
      app.add_subcommand("validate", "Predict published runs and print the errors");
  validate->add_option("--runs", raw.runs, "runs, one JSON record a line; else those built in");
  validate->add_option("--group", raw.group, "only this group of runs");
  validate->add_option("--calibrate", raw.calibrate,
                       "fit software to this many runs of each group and chip, score the others");
  validate->add_option("--require", raw.required, "median=5%,p90=15%: exit 4 if errors are larger");
  CLI::App* calibrate = app.add_subcommand("calibrate", "Fit a software profile to measured steps");
  calibrate->add_option("STEPS", raw.steps, "measured steps, one JSON record a line");
  calibrate->add_option("--out", raw.out, "the profile, for --software")->required();
  calibrate->add_option("--software", raw.job.software, "where to start, else the steps' own");
  calibrate->add_flag("--published", raw.published,
                      "fit the built-in profiles to the published runs instead");
  calibrate->add_option("--report", raw.report,
                        "with --published: the account of accuracy, REPORT.json and .csv");
  CLI::App* list = app.add_subcommand("list", "What is built in");
  list->add_option("WHAT", raw.what, "models, clusters, chips, software, schedules or rules")
      ->required();
  CLI::App* show = app.add_subcommand("show", "One of them, each number with its source");
  show->add_option("NAME", raw.name, "as `list` prints it")->required();
  show->add_flag("--rules", raw.show_rules, "what the export rules say of its chip");
}

void add_import(CLI::App& app, Raw& raw) {
  CLI::App* import =
      app.add_subcommand("import", "Take over other programs' measurements, recognised by content");
  import
      ->add_option("FILE", raw.files,
                   "logs of nccl-tests or OSU, PyTorch or Nsight traces, stores, tables of "
                   "timings; or one topology: nvidia-smi topo -m, NCCL's XML")
      ->required();
  import->add_option("--db", raw.job.db, "store ($XDG_DATA_HOME/narrows/measurements.db)");
  import->add_option("--chip", raw.chip, "the chip, where a file does not say it");
  import->add_option("--ranks", raw.ranks, "ranks, where a log does not say it");
  import->add_option("--nodes", raw.nodes, "a topology's cluster has N such nodes (1)");
  import->add_option("--out", raw.out, "write a topology's cluster file; else to stdout");
}

void describe(CLI::App& app, Raw& raw, CommonOptions& common) {
  app.add_flag("--json", common.json, "one JSON document on stdout");
  app.add_flag("--quiet", common.quiet, "nothing but errors on stderr");
  app.add_option("--profiles", raw.profiles, "folder of your own profiles: DIR/chips/x.json, ...");
  app.add_option("--threads", raw.threads, "of the search; the answer does not depend on it");
  app.require_subcommand(1);
  app.fallthrough();
  add_plan(app, raw);
  add_simulate(app, raw);
  add_compare(app, raw);
  add_others(app, raw);
  add_import(app, raw);
  add_train(app, raw.train);
  add_profile(app, raw.profile);
  add_tune(app, raw);
  app.footer(
      fmt::format("Not built yet: {}.\nExit codes: 0 done, 1 refused, 2 usage, 3 infeasible. "
                  "The whole contract: docs/cli.md.",
                  fmt::join(kNotBuilt, ", ")));
}

// Assigns where the option was given.
template <typename Target, typename Value>
Status read_option(Target& target, const OptionText& from,
                   Result<Value> (*read)(const OptionText&)) {
  if (!from.text.empty()) target = TRY(read(from));
  return {};
}
Result<std::int64_t> count_of(const OptionText& from) { return positive_count(from); }

Result<JobOptions> job_of(const RawJob& raw) {
  JobOptions job;
  if (!raw.db.empty()) job.db = raw.db;
  job.model = raw.model;
  job.cluster = raw.cluster;
  TRY(read_option(job.gpus, {"--gpus", raw.gpus}, positive_int));
  TRY(read_option(job.tokens, {"--tokens", raw.tokens}, count_of));
  if (!raw.seq.empty()) job.sequence = TRY(positive_count({"--seq", raw.seq}, true));
  TRY(read_option(job.global_batch, {"--global-batch", raw.global_batch}, count_of));
  TRY(read_option(job.price, {"--price", raw.price}, positive_price));
  if (!raw.routing.empty())
    job.routing = routing_of(TRY(one_of({"--routing", raw.routing}, {"balanced", "natural"})));
  if (!raw.software.empty()) job.software = raw.software;
  for (const std::string& text : raw.settings)
    job.settings.push_back(TRY(setting({"--set", text})));
  job.fix = raw.fix;
  job.precision = raw.precision;
  const Result<Pins> pins = parse_pins(raw.fix);
  if (!pins) return tl::unexpected(pins.error().within("--fix"));
  if (!raw.precision.empty() && raw.precision != "auto") {
    const Result<Recipe> recipe = parse_recipe(raw.precision);
    if (!recipe) return tl::unexpected(recipe.error().within("--precision"));
    if (pins->precision) return invalid("--precision: --fix pins precision too");
  }
  return job;
}

Result<Command> plan_of(const Raw& raw) {
  PlanOptions plan;
  plan.job = TRY(job_of(raw.job));
  if (!raw.objective.empty()) {
    const std::string name =
        TRY(one_of({"--objective", raw.objective}, {"time", "cost", "energy"}));
    plan.objective = name == "time"   ? Objective::Time
                     : name == "cost" ? Objective::Cost
                                      : Objective::Energy;
  }
  TRY(read_option(plan.top, {"--top", raw.top}, positive_int));
  TRY(read_option(plan.time_limit, {"--time-limit", raw.time_limit}, positive_seconds));
  if (!raw.out.empty()) plan.out = raw.out;
  return plan;
}

Result<Command> tune_of(const Raw& raw) {
  TuneOptions tune;
  tune.job = TRY(job_of(raw.job));
  TRY(read_option(tune.trials, {"--trials", raw.trials}, positive_int));
  TRY(read_option(tune.steps, {"--steps", raw.trial_steps}, positive_int));
  tune.launch = raw.launch;
  tune.links = raw.links;
  if (!raw.out.empty()) tune.out = raw.out;
  return tune;
}

Result<Command> simulate_of(const Raw& raw) {
  SimulateOptions simulate;
  const JobOptions job = TRY(job_of(raw.job));
  simulate.plan = raw.plan;
  simulate.settings = job.settings;
  simulate.price = job.price;
  simulate.db = job.db;
  if (!raw.job.cluster.empty()) simulate.cluster = raw.job.cluster;
  if (!raw.trace.empty()) simulate.trace = raw.trace;
  if (!raw.out.empty()) simulate.out = raw.out;
  return simulate;
}

Result<Command> compare_of(const Raw& raw) {
  if (!raw.spend.empty() || !raw.deadline.empty()) {
    return unsupported(fmt::format("{}: choosing the number of GPUs is not built yet",
                                   raw.spend.empty() ? "--deadline" : "--spend"));
  }
  CompareOptions compare;
  compare.job = TRY(job_of(raw.job));
  compare.clusters = TRY(comma_separated({"--clusters", raw.clusters}));
  TRY(read_option(compare.time_limit, {"--time-limit", raw.time_limit}, positive_seconds));
  if (!raw.rules.empty()) compare.rules = raw.rules;
  return compare;
}

// "median=5%,p90=15%".
Result<RequiredErrors> required_errors(const std::string& text) {
  RequiredErrors required;
  if (text.empty()) return required;
  const Error wrong{ErrorCode::InvalidInput,
                    fmt::format("--require: expected median=5%,p90=15%, found \"{}\"", text)};
  for (const std::string& part : TRY(comma_separated({"--require", text}))) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || !part.ends_with('%')) return tl::unexpected(wrong);
    const Result<double> value = parse_number(part.substr(equals + 1, part.size() - equals - 2));
    if (!value || *value < 0) return tl::unexpected(wrong);
    const std::string name = part.substr(0, equals);
    if (name != "median" && name != "p90") return tl::unexpected(wrong);
    (name == "median" ? required.median : required.p90) = *value / 100;
  }
  return required;
}

Result<Command> validate_of(const Raw& raw) {
  ValidateOptions validate{raw.runs, raw.group, 0, TRY(required_errors(raw.required))};
  TRY(read_option(validate.calibrate, {"--calibrate", raw.calibrate}, positive_int));
  return validate;
}

Result<Command> calibrate_of(const Raw& raw) {
  if (raw.steps.empty() != raw.published)
    return invalid("calibrate: expected a file of steps, or --published");
  CalibrateOptions calibrate;
  calibrate.steps = raw.steps;
  calibrate.published = raw.published;
  calibrate.out = raw.out;
  if (!raw.report.empty()) calibrate.report = raw.report;
  if (!raw.job.software.empty()) calibrate.software = raw.job.software;
  return calibrate;
}

Result<Command> import_of(const Raw& raw) {
  ImportOptions import;
  import.files = raw.files;
  import.chip = raw.chip;
  if (!raw.job.db.empty()) import.db = raw.job.db;
  TRY(read_option(import.ranks, {"--ranks", raw.ranks}, positive_int));
  TRY(read_option(import.nodes, {"--nodes", raw.nodes}, positive_int));
  if (!raw.out.empty()) import.out = raw.out;
  return import;
}

Result<Command> command_of(const std::string& name, const Raw& raw) {
  if (name == "plan") return plan_of(raw);
  if (name == "simulate") return simulate_of(raw);
  if (name == "compare") return compare_of(raw);
  if (name == "diff") return DiffOptions{raw.first, raw.second};
  if (name == "train") return train_of(raw.train);
  if (name == "profile") return profile_of(raw.profile);
  if (name == "tune") return tune_of(raw);
  if (name == "validate") return validate_of(raw);
  if (name == "calibrate") return calibrate_of(raw);
  if (name == "import") return import_of(raw);
  if (name == "show") return ShowOptions{raw.name, raw.show_rules};
  return ListOptions{TRY(one_of(
      {"list", raw.what}, {"models", "clusters", "chips", "software", "schedules", "rules"}))};
}

Result<CommonOptions> common_of(const Raw& raw, CommonOptions common) {
  common.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 64);
  TRY(read_option(common.threads, {"--threads", raw.threads}, positive_int));
  common.threads = std::min(common.threads, 256);
  if (!raw.profiles.empty()) common.profiles = raw.profiles;
  return common;
}

Words usage(const std::string& message) {
  return {kUsage, invalid(message + "; see narrows --help").value().message};
}

// The first word that is no option, nor the value of an option before the command.
std::string first_word(const std::vector<std::string>& args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--profiles" || args[i] == "--threads") {
      ++i;
    } else if (args[i].empty() || args[i][0] != '-') {
      return args[i];
    }
  }
  return "";
}

bool is_one_of(const std::string& word, const auto& names) {
  return std::find(std::begin(names), std::end(names), word) != std::end(names);
}

// A command that is none, or not yet.
std::optional<Words> refused_command(const std::vector<std::string>& args) {
  const std::string word = first_word(args);
  if (word.empty() || is_one_of(word, kBuilt)) return {};
  if (is_one_of(word, kNotBuilt))
    return Words{kRefused, fmt::format("{}: this command is not built yet", word)};
  const std::string near = closest(word, {std::begin(kBuilt), std::end(kBuilt)});
  return usage(fmt::format("{}: expected a command{}", word.substr(0, 60),
                           near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

// An option whose value is the empty text: CLI11 could not tell it from one that was not given.
std::optional<Words> empty_value(const std::vector<std::string>& args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i].empty() && i > 0)
      return usage(fmt::format("{}: expected a value, found \"\"", args[i - 1].substr(0, 60)));
    if (args[i].starts_with("--") && args[i].ends_with("="))
      return usage(fmt::format("{} expected a value after the =", args[i].substr(0, 60)));
  }
  return {};
}

// An option in the place of another option's value, which CLI11 would take for it.
std::optional<Words> missing_value(const std::vector<std::string>& args) {
  const bool rules_is_flag = first_word(args) == "show";
  for (std::size_t i = 0; i + 1 < args.size(); ++i) {
    if (!args[i].starts_with("--") || args[i].find('=') != std::string::npos) continue;
    if (args[i] == "--json" || args[i] == "--quiet" || args[i] == "--help" ||
        args[i] == "--version" || args[i] == "--published" || args[i] == "--links" ||
        args[i] == "--compare" || (args[i] == "--rules" && rules_is_flag))
      continue;
    if (args[i + 1].starts_with("--"))
      return usage(fmt::format("{}: expected a value, found the option {}", args[i].substr(0, 60),
                               args[i + 1].substr(0, 60)));
  }
  return {};
}

// CLI11 reports by exceptions; they end here.
std::optional<Words> run_parser(CLI::App& app, std::vector<std::string> args) {
  std::reverse(args.begin(), args.end());
  try {
    app.parse(args);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    return Words{kDone, chosen.empty() ? app.help() : chosen.front()->help("narrows")};
  } catch (const CLI::ParseError& error) {
    return usage(error.what());
  }
  return {};
}

}  // namespace

Invocation parse_arguments(const std::vector<std::string>& args) {
  Invocation invocation;
  if (is_one_of(std::string("--version"), args) && first_word(args).empty()) {
    invocation.common.json = is_one_of(std::string("--json"), args);
    invocation.command = VersionOptions{};
    return invocation;
  }
  CLI::App app("Plans and simulates the training of large models on constrained hardware.",
               "narrows");
  Raw raw;
  describe(app, raw, invocation.common);
  bool version = false;
  app.add_flag("--version", version, "version of the program and dates of its data");
  std::optional<Words> words = refused_command(args);
  if (!words) words = empty_value(args);
  if (!words) words = missing_value(args);
  if (!words) words = run_parser(app, args);
  if (words) {
    invocation.command = *words;
    return invocation;
  }
  const Result<CommonOptions> common = common_of(raw, invocation.common);
  const Result<Command> command = command_of(app.get_subcommands().front()->get_name(), raw);
  if (common) invocation.common = *common;
  if (common && command) {
    invocation.command = *command;
  } else {
    const Error& error = common ? command.error() : common.error();
    const int code = error.code == ErrorCode::InvalidInput ? kUsage : kRefused;
    invocation.command = Words{code, error.message};
  }
  return invocation;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/text.h"
#include "cli/raw_options.h"
#include "cli/value.h"
#include "plan/pins.h"

namespace narrows {
namespace {

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

Result<Command> plan_of(const RawOptions& raw) {
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

Result<Command> tune_of(const RawOptions& raw) {
  TuneOptions tune;
  tune.job = TRY(job_of(raw.job));
  TRY(read_option(tune.trials, {"--trials", raw.trials}, positive_int));
  TRY(read_option(tune.steps, {"--steps", raw.trial_steps}, positive_int));
  tune.launch = raw.launch;
  tune.links = raw.links;
  if (!raw.out.empty()) tune.out = raw.out;
  return tune;
}

Result<Command> simulate_of(const RawOptions& raw) {
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

Result<Command> compare_of(const RawOptions& raw) {
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

Result<Command> validate_of(const RawOptions& raw) {
  ValidateOptions validate{raw.runs, raw.group, 0, TRY(required_errors(raw.required))};
  TRY(read_option(validate.calibrate, {"--calibrate", raw.calibrate}, positive_int));
  return validate;
}

Result<Command> calibrate_of(const RawOptions& raw) {
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

Result<Command> import_of(const RawOptions& raw) {
  ImportOptions import;
  import.files = raw.files;
  import.chip = raw.chip;
  if (!raw.job.db.empty()) import.db = raw.job.db;
  TRY(read_option(import.ranks, {"--ranks", raw.ranks}, positive_int));
  TRY(read_option(import.nodes, {"--nodes", raw.nodes}, positive_int));
  if (!raw.out.empty()) import.out = raw.out;
  return import;
}

}  // namespace

Result<Command> command_of(const std::string& name, const RawOptions& raw) {
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

Result<CommonOptions> common_of(const RawOptions& raw, CommonOptions common) {
  common.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 64);
  TRY(read_option(common.threads, {"--threads", raw.threads}, positive_int));
  common.threads = std::min(common.threads, 256);
  if (!raw.profiles.empty()) common.profiles = raw.profiles;
  return common;
}

}  // namespace narrows

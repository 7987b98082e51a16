// SPDX-License-Identifier: Apache-2.0
#include "cli/train_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/text.h"
#include "cli/value.h"

namespace narrows {
namespace {

// A number from `least` on (not itself where `above`) to below `end`.
struct Range {
  double least = 0;
  bool above = false;
  double end = 1e300;
};
Result<double> number_in(const OptionText& from, const Range& range) {
  const Result<double> value = parse_number(from.text);
  const bool fits =
      value && *value < range.end && (range.above ? *value > range.least : *value >= range.least);
  if (fits) return *value;
  return invalid(fmt::format(
      "{}: expected a number {} {}{}, found \"{}\"", from.option, range.above ? "above" : "from",
      range.least, range.end < 1e300 ? fmt::format(" and below {}", range.end) : "", from.text));
}

Status read_number(double& target, const OptionText& from, const Range& range) {
  if (!from.text.empty()) target = TRY(number_in(from, range));
  return {};
}

Result<std::int64_t> whole(const OptionText& from) {
  const double value = TRY(number_in(from, {.end = 9e15}));
  if (value != static_cast<double>(static_cast<std::int64_t>(value)))
    return invalid(
        fmt::format("{}: expected a whole number, found \"{}\"", from.option, from.text));
  return static_cast<std::int64_t>(value);
}

Status read_betas(OptimizerOptions& optimizer, const std::string& text) {
  if (text.empty()) return {};
  const std::vector<std::string> parts = TRY(comma_separated({"--beta", text}));
  if (parts.size() != 2)
    return invalid(
        fmt::format("--beta: expected two numbers such as 0.9,0.95, found \"{}\"", text));
  optimizer.beta1 = TRY(number_in({"--beta", parts[0]}, {.end = 1}));
  optimizer.beta2 = TRY(number_in({"--beta", parts[1]}, {.end = 1}));
  return {};
}

Result<OptimizerOptions> optimizer_of(const RawTrain& raw) {
  OptimizerOptions o;
  TRY(read_number(o.learning_rate, {"--lr", raw.lr}, {.above = true}));
  TRY(read_number(o.epsilon, {"--eps", raw.eps}, {.above = true}));
  TRY(read_number(o.weight_decay, {"--weight-decay", raw.weight_decay}, {}));
  TRY(read_number(o.clip, {"--clip", raw.clip}, {}));
  TRY(read_number(o.balance_rate, {"--bias-rate", raw.bias_rate}, {}));
  TRY(read_betas(o, raw.beta));
  if (!raw.warmup.empty()) o.warmup = TRY(whole({"--warmup", raw.warmup}));
  if (!raw.schedule.empty()) {
    const std::string name = TRY(one_of({"--schedule", raw.schedule}, {"constant", "cosine"}));
    if (name == "cosine") o.schedule = RateSchedule::Cosine;
  }
  return o;
}

}  // namespace

void add_train(CLI::App& app, RawTrain& raw) {
  CLI::App* train = app.add_subcommand("train", "Execute a plan on the built-in runtime");
  train->add_option("PLAN", raw.plan, "plan file, - for stdin")->required();
  train->add_option("--data", raw.data, "text, .bin of tokens, or portable:SEED")->required();
  train->add_option("--steps", raw.steps, "how many")->required();
  train->add_option("--init", raw.init, "portable:SEED or safetensors (portable:1)");
  train->add_option("--lr", raw.lr, "learning rate (3e-4)");
  train->add_option("--warmup", raw.warmup, "steps of linear rise (0)");
  train->add_option("--schedule", raw.schedule, "constant or cosine, to a tenth");
  train->add_option("--beta", raw.beta, "of AdamW (0.9,0.95)");
  train->add_option("--eps", raw.eps, "of AdamW (1e-8)");
  train->add_option("--weight-decay", raw.weight_decay, "of matrices (0.1)");
  train->add_option("--clip", raw.clip, "largest global gradient norm; 0 = none (0)");
  train->add_option("--aux", raw.aux, "weight of the loss that balances experts (0)");
  train->add_option("--bias-rate", raw.bias_rate, "by which selection biases move a step (0.001)");
  train->add_option("--mtp-weight", raw.mtp_weight, "of multi-token prediction's loss (0.3)");
  train->add_option("--seed", raw.seed, "of the order of samples (1)");
  train->add_option("--metrics", raw.metrics, "a line of JSON a step");
  train->add_option("--trace", raw.trace, "write the measured trace for Perfetto");
  train->add_flag("--compare", raw.compare, "the forecast beside what was measured, op by op");
  train->add_option("--db", raw.db, "store that prices a plan on ranks of this machine");
  train->add_option("--checkpoint", raw.checkpoint, "folder to save checkpoints in");
  train->add_option("--checkpoint-every", raw.every, "steps (100); the last is saved too");
  train->add_option("--resume", raw.resume, "folder of checkpoints to go on from");
  train
      ->add_option("--emulate-links", raw.links,
                   "LEVEL=BANDWIDTH,LATENCY: slow down the links of a level of the cluster")
      ->allow_extra_args(false);
}

Result<TrainOptions> train_of(const RawTrain& raw) {
  TrainOptions o;
  TRY(read_number(o.training.loss_weights.aux, {"--aux", raw.aux}, {}));
  TRY(read_number(o.training.loss_weights.mtp, {"--mtp-weight", raw.mtp_weight}, {}));
  o.plan = raw.plan;
  o.training.data = raw.data;
  if (!raw.init.empty()) o.training.init = raw.init;
  o.training.steps = TRY(positive_count({"--steps", raw.steps}));
  if (!raw.seed.empty()) {
    o.training.seed = static_cast<std::uint64_t>(TRY(whole({"--seed", raw.seed})));
  }
  o.training.checkpoint.folder = raw.checkpoint;
  if (!raw.every.empty()) {
    o.training.checkpoint_every = TRY(positive_count({"--checkpoint-every", raw.every}));
  }
  o.training.resume = raw.resume;
  o.training.slow_links = raw.links;
  o.training.optimizer = TRY(optimizer_of(raw));
  o.training.optimizer.steps = o.training.steps;
  if (!raw.metrics.empty()) o.metrics = raw.metrics;
  if (!raw.trace.empty()) o.trace = raw.trace;
  o.compare = raw.compare;
  if (!raw.db.empty()) o.db = raw.db;
  o.training.trace = o.trace.has_value() || o.compare;
  return o;
}

}  // namespace narrows

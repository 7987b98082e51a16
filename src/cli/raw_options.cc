// SPDX-License-Identifier: Apache-2.0
#include "cli/raw_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

namespace narrows {
namespace {

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

void add_plan(CLI::App& app, RawOptions& raw) {
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

void add_tune(CLI::App& app, RawOptions& raw) {
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

void add_simulate(CLI::App& app, RawOptions& raw) {
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

void add_compare(CLI::App& app, RawOptions& raw) {
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

void add_others(CLI::App& app, RawOptions& raw) {
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

void add_import(CLI::App& app, RawOptions& raw) {
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

}  // namespace

void describe(CLI::App& app, RawOptions& raw, CommonOptions& common) {
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

}  // namespace narrows

// `narrows tune`: the best plans by forecast are tried for a few steps each; the measured best is
// returned, with what the forecast's first choice would have cost.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/job.h"
#include "cli/progress.h"
#include "cli/search_job.h"
#include "cli/trial.h"
#include "cli/trial_rows.h"
#include "measurement/local_cluster.h"
#include "planner/make_plan.h"
#include "report/text_table.h"

namespace narrows {
namespace {

// A plan with its trials.
struct Tried {
  Plan plan;
  std::vector<Trial> trials;
  bool is_recalibrated = false;  // chosen with the trials' own measurements
  Seconds predicted() const { return plan.forecast->step; }
  Seconds measured() const {
    Seconds least = trials.front().median();
    for (const Trial& trial : trials) least = min(least, trial.median());
    return least;
  }
};

std::string words_of(const Strategy& s) {
  std::string more = s.sequence_parallel ? ", sp" : "";
  if (s.recompute != Recompute::None) more += ", recompute " + to_string(s.recompute);
  if (s.order != AxisOrder()) more += ", " + to_string(s.order);
  return fmt::format("tp {} pp {} dp {} ep {} cp {}, zero {}, {} of {}, {}, {}{}", s.tp, s.pp, s.dp,
                     s.ep, s.cp, s.zero, s.micro_batches, s.micro_batch, to_string(s.schedule),
                     to_string(s.precision), more);
}

Result<SearchResult> search_best(const LoadedJob& loaded, int top, const CommonOptions& common,
                                 const Console& console) {
  const KernelTables tables = TRY(kernel_tables(loaded));
  const KernelTimes kernels(tables, loaded.cluster.chip, loaded.software);
  Progress progress(console, common.quiet);
  SearchOptions options;
  options.top = top;
  options.threads = common.threads;
  options.stop = console.stop;
  options.progress = [&](const std::string& what, double share) { progress.show(what, share); };
  const Job job = loaded.job();
  return search(job, kernels, options);
}

// The best, and those whose interval begins before its interval ends; at most `most`.
std::vector<Tried> candidates(const LoadedJob& loaded, const SearchResult& found, int most) {
  std::vector<Tried> tried;
  const Job job = loaded.job();
  for (const Candidate& candidate : found.best) {
    Plan plan = plan_of(job, candidate, loaded.forecast_options());
    const bool overlaps =
        tried.empty() || plan.forecast->step_low <= tried.front().plan.forecast->step_high;
    if (!overlaps || std::ssize(tried) >= most) break;
    tried.push_back({std::move(plan), {}});
  }
  return tried;
}

// Round after round, forwards and backwards, so that a slow minute falls on all of them.
Status try_all(std::vector<Tried>& tried, const TuneOptions& options, const CommonOptions& common,
               const Console& console) {
  Progress progress(console, common.quiet);
  TrialOptions trial;
  trial.steps = options.steps;
  trial.launch = options.launch;
  trial.links = options.links;
  trial.trace = options.launch.empty();
  trial.stop = console.stop;
  constexpr int kRounds = 2;
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < tried.size(); ++i) {
      Tried& one = tried[round % 2 == 0 ? i : tried.size() - 1 - i];
      if (std::ssize(one.trials) > round) continue;
      progress.show(fmt::format("trial {} of {}", i + 1, tried.size()), 0);
      Result<Trial> result = run_trial(one.plan, trial);
      if (!result) return tl::unexpected(result.error().within(words_of(one.plan.strategy)));
      one.trials.push_back(std::move(*result));
      if (console.stop != nullptr && console.stop->load()) return {};
    }
  }
  return {};
}

void print_table(const std::vector<Tried>& tried, const Console& console) {
  TextTable table("lrrrr");
  table.row({"plan", "predicted", "interval", "measured", "error"});
  for (const Tried& one : tried) {
    const Forecast& f = *one.plan.forecast;
    table.row({words_of(one.plan.strategy) + (one.is_recalibrated ? " *" : ""),
               fmt::format("{:.1f} ms", f.step / ms),
               fmt::format("{:.1f} to {:.1f}", f.step_low / ms, f.step_high / ms),
               fmt::format("{:.1f} ms", one.measured() / ms),
               fmt::format("{:+.1f} %", 100 * (f.step / one.measured() - 1))});
  }
  console.out << table.text();
}

Json to_json(const std::vector<Tried>& tried, std::size_t best) {
  Json trials = Json::array();
  for (const Tried& one : tried) {
    Json row = Json::object();
    row.set("plan", words_of(one.plan.strategy));
    row.set("predicted_step_seconds", one.predicted() / sec);
    row.set("measured_step_seconds", one.measured() / sec);
    row.set("recalibrated", one.is_recalibrated);
    trials.push(std::move(row));
  }
  Json document = Json::object();
  document.set("trials", std::move(trials));
  document.set("best", static_cast<std::int64_t>(best));
  document.set("step_seconds", tried[best].measured() / sec);
  document.set("regret", tried.front().measured() / tried[best].measured() - 1);
  return document;
}

// The search once more, with what the trials measured of their ops: a choice that is new is tried
// too. How many rows were kept.
Result<std::int64_t> recalibrate(std::vector<Tried>& tried, const TuneOptions& options,
                                 const CommonOptions& common, const Profiles& profiles,
                                 const Console& console) {
  std::vector<TrialRun> runs;
  for (const Tried& one : tried) {
    for (const Trial& trial : one.trials) runs.push_back({one.plan, trial});
  }
  const std::int64_t rows = TRY(keep_trials(runs, options.job.db));
  if (rows == 0) return rows;
  const LoadedJob loaded = TRY(load_job(options.job, profiles));
  const SearchResult again = TRY(search_best(loaded, 4 * options.trials, common, console));
  std::vector<Tried> better = candidates(loaded, again, 1);
  const bool is_new = std::none_of(tried.begin(), tried.end(), [&](const Tried& one) {
    return one.plan.strategy == better.front().plan.strategy;
  });
  if (!is_new) return rows;
  better.front().is_recalibrated = true;
  TRY(try_all(better, options, common, console));
  if (!better.front().trials.empty()) tried.push_back(std::move(better.front()));
  return rows;
}

std::size_t best_of(const std::vector<Tried>& tried) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < tried.size(); ++i) {
    if (tried[i].measured() < tried[best].measured()) best = i;
  }
  return best;
}

void print_best(const std::vector<Tried>& tried, const Tried& best, std::int64_t rows,
                const Console& console) {
  print_table(tried, console);
  console.out << fmt::format("best: {}, {:.1f} ms a step\n", words_of(best.plan.strategy),
                             best.measured() / ms);
  console.out << fmt::format(
      "the forecast's first choice takes {:.1f} % more; {} measurements of ops were kept\n",
      100 * (tried.front().measured() / best.measured() - 1), with_commas(rows));
}

}  // namespace

Result<int> tune_command(const TuneOptions& options, const CommonOptions& common,
                         const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  const LoadedJob loaded = TRY(load_job(options.job, profiles));
  if (loaded.cluster.chip.architecture != kCpuArchitecture) {
    return unsupported(fmt::format(
        "--cluster {}: trials run on processors: expected local or local:N, found a cluster of {}",
        options.job.cluster, loaded.cluster.chip.title));
  }
  print_assumed(loaded.assumed, common, console);
  const SearchResult found = TRY(search_best(loaded, 4 * options.trials, common, console));
  if (found.best.empty()) return invalid("no plan fits: narrows plan says what is needed");
  std::vector<Tried> tried = candidates(loaded, found, options.trials);
  TRY(try_all(tried, options, common, console));
  std::erase_if(tried, [](const Tried& one) { return one.trials.empty(); });
  if (tried.empty()) return kInterrupted;
  const std::int64_t rows = TRY(recalibrate(tried, options, common, profiles, console));
  const std::size_t best = best_of(tried);
  if (options.out) TRY(write_file(*options.out, text_of(tried[best].plan)));
  if (common.json) {
    console.out << to_json(tried, best).text() << "\n";
    return kDone;
  }
  print_best(tried, tried[best], rows, console);
  return console.stop != nullptr && console.stop->load() ? kInterrupted : kDone;
}

}  // namespace narrows

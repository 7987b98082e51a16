// SPDX-License-Identifier: Apache-2.0
#include "cli/search_job.h"

#include <chrono>

#include "cli/explain.h"
#include "cli/progress.h"
#include "cost/kernel_time.h"

namespace narrows {
namespace {

SearchSummary summary_of(const SearchResult& result) {
  SearchSummary summary;
  summary.space = result.space;
  summary.evaluated = result.evaluated;
  summary.feasible = result.feasible;
  summary.simulated = result.simulated;
  summary.complete = result.complete;
  summary.lower_bound = to_seconds(result.lower_bound);
  summary.gap = result.gap;
  return summary;
}

PlanView plan_view(const LoadedJob& loaded, const SearchResult& result, int top) {
  const Job job = loaded.job();
  PlanView view;
  const Candidate& best = result.best.front();
  view.plan = plan_of(job, best, loaded.forecast_options());
  view.fullest_rank = best.prediction.fullest_rank;
  view.price = loaded.price;
  view.price_basis = loaded.price_basis;
  view.search = summary_of(result);
  view.assumed = loaded.assumed;
  for (std::size_t i = 1; i < result.best.size() && i <= static_cast<std::size_t>(top); ++i) {
    const Candidate& other = result.best[i];
    const Forecast forecast = forecast_of(job, other, loaded.forecast_options());
    view.search->alternatives.push_back({other.strategy, forecast.step, forecast.memory_peak,
                                         difference_words(*view.plan.forecast, forecast)});
  }
  view.reasons = why_it_wins(view);
  for (const std::string& words : what_binds(view.plan)) view.reasons.push_back(words);
  return view;
}

InfeasibleView infeasible_view(const LoadedJob& loaded, const SearchResult& result) {
  InfeasibleView view;
  view.plan.model = loaded.model;
  view.plan.cluster = loaded.cluster;
  view.plan.software = loaded.software;
  view.plan.training = loaded.training;
  view.plan.strategy = result.infeasible->strategy;
  view.rank = result.infeasible->rank;
  view.needed = result.infeasible->needed;
  view.available = result.infeasible->available;
  view.search = summary_of(result);
  view.assumed = loaded.assumed;
  return view;
}

// A rule that names none of the pins by its words gets them in front.
Error with_pins(const Error& error, const Pins& pins) {
  const std::string words = to_string(pins);
  const std::string field = error.message.substr(0, error.message.find(':'));
  if (words.empty() || words.find(field) != std::string::npos) return error;
  return error.within("--fix " + words);
}

}  // namespace

Result<SearchedJob> search_job(const LoadedJob& loaded, const SearchLimits& limits,
                               const CommonOptions& common, const Console& console) {
  const KernelTables tables = TRY(kernel_tables(loaded));
  const KernelTimes kernels(tables, loaded.cluster.chip, loaded.software);
  Progress progress(console, common.quiet);
  SearchOptions options;
  options.top = limits.top + 1;  // the best itself, and its alternatives
  options.time_limit = limits.time_limit;
  options.threads = common.threads;
  options.stop = console.stop;
  options.progress = [&](const std::string& what, double share) { progress.show(what, share); };
  const auto start = std::chrono::steady_clock::now();
  const Job job = loaded.job();
  const Result<SearchResult> found = search(job, kernels, options);
  if (!found) return tl::unexpected(with_pins(found.error(), loaded.pins));
  const SearchResult& result = *found;
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  progress.clear();
  SearchedJob searched;
  searched.interrupted = console.stop != nullptr && console.stop->load();
  if (!result.best.empty()) {
    PlanView view = plan_view(loaded, result, limits.top);
    view.search->wall = spent.count() * sec;
    searched.view = std::move(view);
  } else if (result.infeasible && result.complete) {
    InfeasibleView view = infeasible_view(loaded, result);
    view.search->wall = spent.count() * sec;
    searched.view = std::move(view);
  } else {
    return unsupported(searched.interrupted
                           ? "interrupted before any strategy was found to fit"
                           : "--time-limit: no strategy was found to fit in this time");
  }
  return searched;
}

void print_assumed(const std::vector<std::string>& assumed, const CommonOptions& common,
                   const Console& console) {
  if (common.quiet) return;
  for (const std::string& line : assumed) console.err << "assumed: " << line << "\n";
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "planner/search.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <limits>
#include <queue>
#include <thread>

#include "planner/leaf.h"

namespace narrows {
namespace {

// A judged strategy that fits, waiting to be simulated. Order: bound, then place in the
// enumeration.
struct Open {
  Tick bound;
  std::int64_t sequence = 0;
  Strategy strategy;
  bool refined = false;  // the bound includes what follows the pipeline
};
struct Later {
  bool operator()(const Open& a, const Open& b) const {
    if (a.bound != b.bound) return a.bound > b.bound;
    return a.sequence > b.sequence;
  }
};

struct FamilyVerdict {
  std::vector<Open> open;
  std::int64_t evaluated = 0;
  std::optional<Infeasible> nearest;  // to fitting
};

class Clock {
 public:
  explicit Clock(const SearchOptions& options)
      : options_(options), start_(std::chrono::steady_clock::now()) {}
  bool over() const {
    if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) return true;
    if (!(options_.time_limit > Seconds())) return false;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    return spent.count() * sec > options_.time_limit;
  }

 private:
  const SearchOptions& options_;
  std::chrono::steady_clock::time_point start_;
};

bool needs_less(const Infeasible& a, const std::optional<Infeasible>& b) {
  return !b || total(a.needed) < total(b->needed);
}

// `exact`: also strategies whose state alone is too large are judged in full, to say what they
// would need.
FamilyVerdict judge_family(const StrategyFamily& family, std::int64_t first, const Job& job,
                           LeafEvaluator& leaf, const Clock& clock, bool exact,
                           std::atomic<double>& least) {
  FamilyVerdict verdict;
  const Bytes available = job.cluster.chip.memory_reported.value;
  for (std::size_t i = 0; i < family.strategies.size() && !clock.over(); ++i) {
    const Strategy& strategy = family.strategies[i];
    ++verdict.evaluated;
    const Bytes state = leaf.least_memory(strategy);
    if (!exact && state > available) continue;
    // Nothing that needs less than the nearest one so far is skipped, whichever thread found that.
    if (exact && state / byte > least.load()) continue;
    const LeafEvaluator::Verdict v = leaf.judge(strategy, exact);
    if (v.fits) {
      verdict.open.push_back({v.bound, first + static_cast<std::int64_t>(i), strategy, false});
      continue;
    }
    if (!exact) continue;
    const Infeasible tight{strategy, v.fullest_rank, v.needed, available};
    if (needs_less(tight, verdict.nearest)) verdict.nearest = tight;
    const double needed = v.memory / byte;
    for (double known = least.load();
         needed < known && !least.compare_exchange_weak(known, needed);) {
    }
  }
  return verdict;
}

// All families, by as many threads as asked for; results by family, so that the number of threads
// does not show.
std::vector<FamilyVerdict> judge_all(const std::vector<StrategyFamily>& families, const Job& job,
                                     std::deque<LeafEvaluator>& leaves,
                                     const SearchOptions& options, const Clock& clock, bool exact) {
  std::vector<std::int64_t> first(families.size() + 1, 0);
  for (std::size_t f = 0; f < families.size(); ++f) {
    first[f + 1] = first[f] + static_cast<std::int64_t>(families[f].strategies.size());
  }
  std::vector<FamilyVerdict> verdicts(families.size());
  std::atomic<std::size_t> next{0};
  std::atomic<double> least{std::numeric_limits<double>::max()};
  const auto work = [&](std::size_t thread) {
    for (std::size_t f = next++; f < families.size(); f = next++) {
      verdicts[f] = judge_family(families[f], first[f], job, leaves[thread], clock, exact, least);
      leaves[thread].trim();
      if (thread == 0 && options.progress) {
        options.progress("judging strategies",
                         static_cast<double>(f) / static_cast<double>(families.size()));
      }
    }
  };
  std::vector<std::thread> others;
  for (std::size_t t = 1; t < leaves.size(); ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& thread : others) thread.join();
  return verdicts;
}

bool same_layout_and_schedule(const Strategy& a, const Strategy& b) {
  return a.tp == b.tp && a.pp == b.pp && a.vpp == b.vpp && a.ep == b.ep && a.etp == b.etp &&
         a.cp == b.cp && a.dp == b.dp && a.dp_shard == b.dp_shard && a.order == b.order &&
         a.schedule == b.schedule;
}

// Keeps the best of each (layout, schedule), ascending.
void insert(std::vector<Candidate>& best, Candidate candidate) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.prediction.step < b.prediction.step;
  };
  for (Candidate& known : best) {
    if (!same_layout_and_schedule(known.strategy, candidate.strategy)) continue;
    if (before(candidate, known)) {
      known = std::move(candidate);
      std::stable_sort(best.begin(), best.end(), before);
    }
    return;
  }
  best.insert(std::upper_bound(best.begin(), best.end(), candidate, before), std::move(candidate));
}

bool shown(const std::vector<Candidate>& best, const Strategy& strategy) {
  return std::any_of(best.begin(), best.end(), [&](const Candidate& known) {
    return same_layout_and_schedule(known.strategy, strategy);
  });
}

// How many strategies beyond the certificate are simulated to have alternatives to show.
constexpr int kExtraForAlternatives = 64;

void simulate_in_order(std::vector<Open> open, LeafEvaluator& leaf, const SearchOptions& options,
                       const Clock& clock, SearchResult& result) {
  std::priority_queue<Open, std::vector<Open>, Later> queue(Later{}, std::move(open));
  bool proven = false;
  int extra = 0;
  const auto wanted = static_cast<std::size_t>(options.top);
  while (!queue.empty()) {
    const Open top = queue.top();
    if (!proven && !result.best.empty() && top.bound >= result.best.front().prediction.step) {
      proven = true;
      result.lower_bound = result.best.front().prediction.step;
    }
    if (proven && (result.best.size() >= wanted || extra >= kExtraForAlternatives)) break;
    if (clock.over() && !result.best.empty()) break;
    queue.pop();
    if (proven && shown(result.best, top.strategy)) continue;
    if (!top.refined) {
      Open refined = top;
      refined.bound = leaf.full_bound(top.strategy, top.bound);
      refined.refined = true;
      queue.push(refined);
      continue;
    }
    Candidate candidate = leaf.simulate(top.strategy);
    candidate.bound = top.bound;
    ++result.simulated;
    if (proven) ++extra;
    insert(result.best, std::move(candidate));
    if (result.best.size() > 4 * wanted + 8) result.best.pop_back();
    if (options.progress) options.progress("simulating", 0);
  }
  if (result.best.empty()) return;
  const Tick best = result.best.front().prediction.step;
  if (!proven) {
    result.lower_bound = queue.empty() ? best : std::min(best, queue.top().bound);
    result.complete = result.complete && queue.empty();
  }
  result.gap = 1 - static_cast<double>(result.lower_bound.ns) / static_cast<double>(best.ns);
}

}  // namespace

Result<SearchResult> search(const Job& job, const KernelTimes& kernels,
                            const SearchOptions& options) {
  const Clock clock(options);
  Space space{limits_of(job.model, job.cluster, job.training, job.software), job.pins,
              job.cluster.gpus_per_node, 1};
  // The domain of the fastest links.
  space.domain = job.cluster.levels.empty() ? 1 : job.cluster.levels.front().group;
  const std::vector<StrategyFamily> families = enumerate(space);
  SearchResult result;
  result.space = count(families);
  if (result.space == 0) return tl::unexpected(explain_empty(space));

  const GroupCounts counts = routed_groups(job.model);
  std::deque<LeafEvaluator> leaves;
  const int threads = std::max(1, options.threads);
  for (int t = 0; t < threads; ++t) leaves.emplace_back(job, kernels, counts);
  std::vector<FamilyVerdict> verdicts = judge_all(families, job, leaves, options, clock, false);
  const auto any_fits = [&] {
    return std::any_of(verdicts.begin(), verdicts.end(),
                       [](const FamilyVerdict& v) { return !v.open.empty(); });
  };
  if (!any_fits()) verdicts = judge_all(families, job, leaves, options, clock, true);

  std::vector<Open> open;
  for (FamilyVerdict& verdict : verdicts) {
    result.evaluated += verdict.evaluated;
    open.insert(open.end(), verdict.open.begin(), verdict.open.end());
    if (verdict.nearest && needs_less(*verdict.nearest, result.infeasible)) {
      result.infeasible = verdict.nearest;
    }
  }
  result.feasible = static_cast<std::int64_t>(open.size());
  result.complete = result.evaluated == result.space;
  if (open.empty()) {
    // In full, kept and transient apart.
    if (result.infeasible) {
      Infeasible& tight = *result.infeasible;
      tight.needed = leaves.front()
                         .simulate(tight.strategy)
                         .prediction.memory[static_cast<std::size_t>(tight.rank)];
    }
    return result;
  }
  result.infeasible.reset();
  simulate_in_order(std::move(open), leaves.front(), options, clock, result);
  if (!result.complete && result.evaluated < result.space) {
    // Nothing is known of what was not judged.
    result.lower_bound = {};
    result.gap = 1;
  }
  return result;
}

}  // namespace narrows

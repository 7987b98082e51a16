// SPDX-License-Identifier: Apache-2.0
#include "accuracy/leave_out.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/random.h"
#include "base/residual.h"
#include "plan/interval.h"

namespace narrows {
namespace {

constexpr double kCoverage = 0.9;
// Fewer rows or groups of a kind say little about a quantile: all families' rows decide then.
constexpr std::size_t kRowsForSpread = 30;
constexpr std::size_t kGroupsForSpread = 3;

void note_range(const FamilyFit& fit, LeaveOut& out) {
  for (const FittedConstant& c : fit.constants) {
    auto& range = out.ranges.try_emplace(c.name, c.value, c.value).first->second;
    range = {std::min(range.first, c.value), std::max(range.second, c.value)};
  }
}

// A quantity with its weight.
struct Weighed {
  double value = 0;
  double weight = 0;
};

double weighted_quantile(std::vector<Weighed> all, double share) {
  std::stable_sort(all.begin(), all.end(),
                   [](const Weighed& a, const Weighed& b) { return a.value < b.value; });
  double total = 0;
  for (const Weighed& w : all) total += w.weight;
  double sum = 0;
  for (const Weighed& w : all) {
    sum += w.weight;
    if (sum >= share * total) return w.value;
  }
  return 0;
}

struct Cell {
  std::vector<Weighed> squares;
  std::set<std::string> groups;
  bool enough() const {
    return squares.size() >= kRowsForSpread && groups.size() >= kGroupsForSpread;
  }
  double ratio() const {
    return ratio_of(std::sqrt(std::max(0.0, weighted_quantile(squares, kCoverage))));
  }
};

}  // namespace

LeaveOut leave_one_group_out(RunSet& set, const std::vector<double>& measured,
                             const Figures& start) {
  LeaveOut out;
  std::vector<std::size_t> all(set.rows().size());
  std::map<std::string, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = i;
    groups[set.rows()[i].run->group].push_back(i);
  }
  for (const std::string& family : set.families())
    out.fits.push_back(fit_family(set, {family, "", measured, start}));
  for (const FamilyFit& fit : out.fits) note_range(fit, out);
  out.in_sample = set.predict(all, figures_of(out.fits));
  out.left_out.resize(all.size());
  for (const auto& [group, rows] : groups) {
    std::set<std::string> seen;
    for (const std::size_t row : rows) {
      if (set.rows()[row].software_known) seen.insert(set.rows()[row].family);
    }
    std::vector<FamilyFit> fits = out.fits;
    for (FamilyFit& fit : fits) {
      if (seen.count(fit.family) == 0 || fit.constants.empty()) continue;
      fit = fit_family(set, {fit.family, group, measured, figures_of({fit})});
      note_range(fit, out);
    }
    const std::vector<RowPrediction> predicted = set.predict(rows, figures_of(fits));
    for (std::size_t i = 0; i < rows.size(); ++i) out.left_out[rows[i]] = predicted[i];
  }
  return out;
}

std::vector<double> shuffled(const RunSet& set, std::uint64_t seed) {
  std::vector<double> times = measured_of(set);
  Random random(seed);
  for (const std::string& family : set.families()) {
    std::vector<std::size_t> rows;
    for (std::size_t i = 0; i < times.size(); ++i) {
      if (set.rows()[i].family == family) rows.push_back(i);
    }
    for (std::size_t i = rows.size(); i > 1; --i)
      std::swap(times[rows[i - 1]], times[rows[random.below(i)]]);
  }
  return times;
}

std::map<std::string, ForecastSpread> spreads_of(const RunSet& set,
                                                 const std::vector<RowPrediction>& left_out,
                                                 const std::string& without) {
  std::map<std::string, double> sizes;
  for (const RunRow& row : set.rows()) sizes[row.run->group] += 1;
  std::map<std::pair<std::string, bool>, Cell> cells;  // "" = all families
  for (std::size_t i = 0; i < left_out.size(); ++i) {
    const RunRow& row = set.rows()[i];
    if (!row.software_known || left_out[i].step <= 0 || row.run->group == without) continue;
    const double ratio = left_out[i].step / (*row.run->step / sec);
    const Weighed square{unexplained_square(ratio, left_out[i].relative_error),
                         1 / sizes.at(row.run->group)};
    for (const std::string& family : {row.family, std::string()}) {
      Cell& cell = cells[{family, row.moe}];
      cell.squares.push_back(square);
      cell.groups.insert(row.run->group);
    }
  }
  std::map<std::string, ForecastSpread> spreads;
  for (const std::string& family : set.families()) {
    const auto ratio = [&](bool moe) {
      const Cell& own = cells[{family, moe}];
      return (own.enough() ? own : cells[{"", moe}]).ratio();
    };
    spreads[family] = {ratio(false), ratio(true)};
  }
  return spreads;
}

}  // namespace narrows

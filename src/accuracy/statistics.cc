// SPDX-License-Identifier: Apache-2.0
#include "accuracy/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/result.h"

namespace narrows {
namespace {

// 1-based ranks; equal values share the average of theirs.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    for (std::size_t i = first; i < end; ++i)
      ranks[order[i]] = 0.5 * static_cast<double>(first + 1 + end);
    first = end;
  }
  return ranks;
}

}  // namespace

std::optional<double> quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(q * static_cast<double>(values.size()));
  return values[static_cast<std::size_t>(std::max(1.0, rank)) - 1];
}

std::optional<double> median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

std::optional<double> mean(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::optional<double> spearman(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT(a.size() == b.size());
  if (a.size() < 2) return std::nullopt;
  const std::vector<double> p = ranks_of(a), q = ranks_of(b);
  const double middle = 0.5 * static_cast<double>(a.size() + 1);
  double both = 0, of_p = 0, of_q = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    both += (p[i] - middle) * (q[i] - middle);
    of_p += (p[i] - middle) * (p[i] - middle);
    of_q += (q[i] - middle) * (q[i] - middle);
  }
  if (of_p == 0 || of_q == 0) return std::nullopt;
  return both / std::sqrt(of_p * of_q);
}

}  // namespace narrows

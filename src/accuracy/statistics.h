// The few statistics that a validation report states.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

namespace narrows {

// The smallest value that at least the share `q` in (0, 1] of all is not above (nearest rank);
// nothing of no values.
std::optional<double> quantile(std::vector<double> values, double q);
// The mean of the two middle values where their number is even.
std::optional<double> median(std::vector<double> values);
std::optional<double> mean(const std::vector<double>& values);

// Spearman's rank correlation of two series of one length, ties at their average rank. Nothing of
// fewer than two pairs, or where one of the series is constant.
std::optional<double> spearman(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace narrows

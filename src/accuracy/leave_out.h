// How good predictions are on groups of runs that the fit has not seen, and how wide a forecast's
// interval must be for that: every group is left out in turn, the constants of the families that
// have runs in it are fitted anew without it, and it is predicted with them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "accuracy/calibration.h"

namespace narrows {

struct LeaveOut {
  std::vector<FamilyFit> fits;           // to all rows
  std::vector<RowPrediction> in_sample;  // of every row of the set, with them
  std::vector<RowPrediction> left_out;   // with constants fitted without the row's group
  std::map<FigureName, std::pair<double, double>> ranges;  // least and most without one group
};

// `measured`: seconds of every row (those of the runs, or shuffled ones). `start`: where constants
// begin, which is faster; else a full fit from the priors comes first.
LeaveOut leave_one_group_out(RunSet& set, const std::vector<double>& measured,
                             const Figures& start = {});

// The measured times, exchanged at random among the rows of each family.
std::vector<double> shuffled(const RunSet& set, std::uint64_t seed);

// family -> spread: nine in ten left-out residuals lie inside the interval, a group of runs
// counting as one however many rows it has. A family with few rows of a kind takes the spread of
// all families. Rows of `without` are not looked at.
std::map<std::string, ForecastSpread> spreads_of(const RunSet& set,
                                                 const std::vector<RowPrediction>& left_out,
                                                 const std::string& without = "");

}  // namespace narrows

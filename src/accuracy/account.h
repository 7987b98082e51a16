// The whole account of how accurate narrows is, from the runs alone: constants fitted to all of
// them, predictions in sample and of groups left out, the intervals that follow, and what they must
// be held against: a lookup of past efficiencies, and the same fit to shuffled times. It is what
// scripts/calibrate writes (hwprofiles/fitted/software.json, validation/accuracy.json) and what
// docs/accuracy.md is made of.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "accuracy/leave_out.h"
#include "accuracy/validation_report.h"

namespace narrows {

struct Account {
  LeaveOut fitted;
  std::map<std::string, ForecastSpread> spreads;  // by family
  ValidationReport in_sample;
  ValidationReport left_out;  // its intervals too know nothing of the group
  ValidationReport lookup_in_sample;
  ValidationReport lookup_left_out;
  // Fitted to times exchanged among the rows of a family, left out: against the exchanged times,
  // and against the true ones.
  ValidationReport shuffled;
  ValidationReport shuffled_against_true;
  // Profiles as fitted, and then again to three runs of each (group, chip): the others.
  ValidationReport calibrated;
};

// Whatever was fitted before is not looked at.
Result<Account> account_of(const std::vector<Run>& runs, const RunInputs& inputs);

// hwprofiles/fitted/software.json.
Json overlay_of(const Account& account);
// validation/accuracy.json: summaries and constants.
Json to_json(const Account& account);
// validation/accuracy.csv: a line a run, with the family whose constants were fitted to it.
std::string runs_csv(const Account& account);

}  // namespace narrows

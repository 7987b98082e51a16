// What a few measured runs teach about a training stack on a chip: the figures that no source fixes
// (those with bounds of a fit) and the pace of its kernels, moved away from the profile's values no
// farther than the runs insist on. Few rows cannot carry many constants: the profile's values are a
// prior, and a figure that the rows do not show stays at it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "accuracy/run_set.h"
#include "accuracy/validation_report.h"

namespace narrows {

struct FewRunsFit {
  SoftwareProfile software;          // with its figures as fitted
  std::vector<std::string> figures;  // that the fit may have moved
  int rows = 0;
  double median_before = 0;  // absolute errors of the rows themselves
  double median_after = 0;
};

// The profile of the runs, fitted to all of them. InvalidInput if they are of several profiles, or
// none is supported. `start`: a profile that takes the place of the runs' own.
Result<FewRunsFit> fit_to_runs(const std::vector<Run>& runs, const RunInputs& inputs,
                               const std::optional<SoftwareProfile>& start = std::nullopt);

// Predicts every scored run; the first `count` of each (group, chip) by order of id are calibration
// runs, which the profiles of the others of the same model are fitted to; a model of which none was
// shown keeps the published profile.
Result<ValidationReport> validate_calibrated(const std::vector<Run>& runs, const RunInputs& inputs,
                                             int count, const std::string& group = "");

}  // namespace narrows

// Runs as functions of the figures of their training stacks: each run's job is made once, and its
// step is played again and again with other values of the figures that a fit may set. Work is split
// over threads row by row; results do not depend on how many.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "accuracy/predict_run.h"

namespace narrows {

// family -> figure -> value in SI units.
using FamilyFigures = std::map<std::string, std::map<std::string, double>>;

struct RunRow {
  const Run* run = nullptr;  // borrowed
  std::string family;        // of its software; "" = unsupported
  bool moe = false;
  bool software_known = false;  // else the family is a guess by layout, and no fit may use the row
  std::string unsupported;      // why
};

struct RowPrediction {
  double step = 0;            // seconds; 0 = unsupported
  double relative_error = 0;  // expected, of the kernels it rests on
};

// What runs are predicted with; borrows library and tables.
struct RunInputs {
  const ProfileLibrary& library;
  const KernelTables& tables;
  std::vector<EmbeddedFile> overrides;  // of software and models
  int threads = 1;
};

// Borrows the runs. Not thread-safe.
class RunSet {
 public:
  // Of the runs that are scored, in their order.
  RunSet(const std::vector<Run>& runs, const RunInputs& inputs);

  const std::vector<RunRow>& rows() const { return rows_; }
  // The profile at a family's root, as it was read: the figures that may be fitted, with bounds.
  const SoftwareProfile& root_of(const std::string& family) const;
  // Names of the families, ascending.
  std::vector<std::string> families() const;
  // Of the rows with these indices, in their order. A figure is set wherever the row's profile
  // allows it to be fitted; all others are as the profile says.
  std::vector<RowPrediction> predict(const std::vector<std::size_t>& rows,
                                     const FamilyFigures& figures);

 private:
  RowPrediction predict_row(std::size_t row, const FamilyFigures& figures, RunPredictor& predictor);

  std::vector<RunRow> rows_;
  std::vector<std::optional<RunJob>> jobs_;
  std::vector<SoftwareProfile> software_;         // of each row, as it was read
  std::map<std::string, SoftwareProfile> roots_;  // by family
  std::vector<std::unique_ptr<RunPredictor>> predictors_;  // one a thread
};

}  // namespace narrows

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

// A figure that may be fitted: the profile in whose file its bounds stand, and its field. Profiles
// that are like that one and do not overrule it share its value.
struct FigureName {
  std::string profile;
  std::string field;
  friend auto operator<=>(const FigureName&, const FigureName&) = default;
};
using Figures = std::map<FigureName, double>;  // in SI units

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
  // Figures that may be fitted although the profile sets no bounds, with how far either way: 1.5 =
  // from two thirds of the value to half as much again. A user's own steps may say more than the
  // published runs.
  std::map<std::string, double> loosened = {};
  // Takes the place of the runs' own profiles.
  std::optional<SoftwareProfile> software = std::nullopt;
};

// The figures of a profile that may be fitted, under their owners' names.
std::vector<FigureName> figures_to_fit(const SoftwareProfile& profile);

// Borrows the runs. Not thread-safe.
class RunSet {
 public:
  // Of the runs that are scored, in their order.
  RunSet(const std::vector<Run>& runs, const RunInputs& inputs);

  const std::vector<RunRow>& rows() const { return rows_; }
  // The row's profile as it was read; empty where the row is unsupported.
  const SoftwareProfile& software_of(std::size_t row) const { return software_[row]; }
  // Names of the families, ascending.
  std::vector<std::string> families() const;
  // Of the rows with these indices, in their order. A figure is set wherever the row's profile
  // allows it to be fitted; all others are as the profile says.
  std::vector<RowPrediction> predict(const std::vector<std::size_t>& rows, const Figures& figures);
  // Of one row, with its interval and memory. Unsupported, with the reason.
  Result<RunPrediction> predict_whole(std::size_t row, const Figures& figures);

 private:
  void set_figures(std::size_t row, const Figures& figures);
  RowPrediction predict_row(std::size_t row, const Figures& figures, RunPredictor& predictor);

  std::vector<RunRow> rows_;
  std::vector<std::optional<RunJob>> jobs_;
  std::vector<SoftwareProfile> software_;                  // of each row, as it was read
  std::vector<std::unique_ptr<RunPredictor>> predictors_;  // one a thread
};

}  // namespace narrows

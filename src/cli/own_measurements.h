// What this user measured: the store (`--db FILE`, else the default one), or a profile's text form
// in its place.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "measurement/observation.h"

namespace narrows {

// The file that --db names, else $XDG_DATA_HOME/narrows/measurements.db, whose folder is made where
// `to_write`.
Result<std::string> store_path(const std::optional<std::string>& db, bool to_write);

// "2026-11-22".
std::string today();

// Kind of the origins of rows that trial runs gave.
inline constexpr const char* kTrialOrigin = "trial";

struct OwnMeasurements {
  std::string path;
  std::vector<Measurement> kernels;  // one row an op: the median of all samples
  std::vector<int> samples;          // of each that the profiler took
  std::vector<LinkMeasurement> links;
  bool empty() const { return kernels.empty(); }
};

// Those of one chip. Of a file that is not there: none, unless the user named it (NotFound).
Result<OwnMeasurements> own_measurements(const std::optional<std::string>& db,
                                         const std::string& chip);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cli/own_measurements.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "store/import.h"
#include "store/op_text.h"
#include "store/store.h"

namespace narrows {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// All rows of one op: times with how many samples each rests on.
struct Times {
  Measurement what;
  std::vector<std::pair<double, int>> profiled, tried;  // seconds, samples
};

// A sample counts as one, in whichever row it lies.
double mean_over_samples(const std::vector<std::pair<double, int>>& times) {
  double sum = 0, all = 0;
  for (const auto& [time, samples] : times) {
    const double weight = std::max(samples, 1);
    sum += weight * time;
    all += weight;
  }
  return sum / all;
}

// Trials measured ops where they are used: they count before the profiler's rows of the op.
void take(const std::vector<Batch>& batches, const std::string& chip, OwnMeasurements& own) {
  std::map<OpText, Times> ops;
  for (const Batch& batch : batches) {
    if (batch.machine.chip != chip) continue;
    for (const KernelObservation& row : batch.kernels) {
      const OpText name = op_text(row.what);
      Times& times = ops[name];
      times.what = row.what;
      const bool is_trial = batch.origin.kind == kTrialOrigin;
      (is_trial ? times.tried : times.profiled)
          .emplace_back(row.what.time / sec, row.spread.samples);
    }
    for (const LinkObservation& row : batch.links) own.links.push_back(row.what);
  }
  for (auto& [name, times] : ops) {
    Measurement row = times.what;
    row.chip = chip;
    row.source = times.tried.empty() ? "profile" : kTrialOrigin;
    const auto& used = times.tried.empty() ? times.profiled : times.tried;
    row.time = mean_over_samples(used) * sec;
    int samples = 0;
    for (const auto& [time, count] : times.profiled) samples += count;
    own.kernels.push_back(std::move(row));
    own.samples.push_back(samples);
  }
}

Status read_text(const std::string& text, const std::string& chip, OwnMeasurements& own) {
  const ForeignKind kind = recognise(text);
  if (kind != ForeignKind::Timings) {
    return invalid(fmt::format("{}: expected a store or an exported profile, found {}", own.path,
                               kind == ForeignKind::Unknown ? "neither" : to_string(kind)));
  }
  const std::vector<Batch> batches = TRY(read_log(kind, text, own.path, {}, today()));
  take(batches, chip, own);
  return {};
}

Status read_store(const std::string& chip, OwnMeasurements& own) {
  const Store store = TRY(Store::open_to_read(own.path));
  const std::vector<Batch> batches = TRY(store.batches(chip));
  take(batches, chip, own);
  return {};
}

}  // namespace

std::string today() {
  const std::chrono::year_month_day date(
      std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()));
  return fmt::format("{:04d}-{:02d}-{:02d}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

Result<std::string> store_path(const std::optional<std::string>& db, bool to_write) {
  if (db) return *db;
  const std::string path =
      TRY(default_store_path(environment("XDG_DATA_HOME"), environment("HOME")));
  if (!to_write) return path;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return io_error(fmt::format("{}: cannot make its folder: {}", path, error.message()));
  return path;
}

Result<OwnMeasurements> own_measurements(const std::optional<std::string>& db,
                                         const std::string& chip) {
  OwnMeasurements own;
  const Result<std::string> path = store_path(db, false);
  if (!path && !db) return own;
  if (!path) return tl::unexpected(path.error());
  own.path = *path;
  std::error_code error;
  if (!std::filesystem::exists(own.path, error)) {
    if (!db) return own;
    return not_found(fmt::format("--db {}: there is no such file", own.path));
  }
  const std::string text = TRY(read_file(own.path, std::size_t{16} << 30));
  const Status read = is_sqlite(text) ? read_store(chip, own) : read_text(text, chip, own);
  if (!read) return tl::unexpected(read.error());
  return own;
}

}  // namespace narrows

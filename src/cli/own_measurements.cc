// SPDX-License-Identifier: Apache-2.0
#include "cli/own_measurements.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "store/import.h"
#include "store/store.h"

namespace narrows {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

void take(Batch&& batch, const std::string& chip, OwnMeasurements& own) {
  if (batch.machine.chip != chip) return;
  for (KernelObservation& row : batch.kernels) {
    own.kernels.push_back(std::move(row.what));
    own.kernels.back().chip = chip;
    own.kernels.back().source = "profile";
  }
  for (LinkObservation& row : batch.links) own.links.push_back(std::move(row.what));
}

Status read_text(const std::string& text, const std::string& chip, OwnMeasurements& own) {
  const ForeignKind kind = recognise(text);
  if (kind != ForeignKind::Timings && kind != ForeignKind::KernelTable) {
    return invalid(fmt::format("{}: expected a store or an exported profile, found {}", own.path,
                               kind == ForeignKind::Unknown ? "neither" : to_string(kind)));
  }
  for (Batch& batch : TRY(read_log(kind, text, own.path, {}, today())))
    take(std::move(batch), chip, own);
  return {};
}

Status read_store(const std::string& chip, OwnMeasurements& own) {
  const Store store = TRY(Store::open_to_read(own.path));
  own.kernels = TRY(store.kernel_table(chip));
  for (const Batch& batch : TRY(store.batches(chip))) {
    for (const LinkObservation& row : batch.links) own.links.push_back(row.what);
  }
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
  own.path = TRY(Result<std::string>(path));
  std::error_code error;
  if (!db && !std::filesystem::exists(own.path, error)) return own;
  const std::string text = TRY(read_file(own.path, std::size_t{16} << 30));
  TRY(is_sqlite(text) ? read_store(chip, own) : read_text(text, chip, own));
  return own;
}

}  // namespace narrows

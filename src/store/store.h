// What this user measured, or took over from others' logs: an SQLite file in WAL mode whose rows
// are ops as words (op_text.h) with median, percentiles and samples. Every row belongs to an origin
// (a file or a run of the profiler) and every origin to a machine, so that a chip's rows can be
// told by driver and clock, and nothing is stored twice. A batch is one transaction: all of it, or
// nothing. The schema has a version; an older store is brought up to date when it is opened for
// writing, and a newer one is refused. docs/store.md has the tables.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measurement/observation.h"

namespace narrows {

class Database;

// What was added; `known` counts rows whose origin the store had already.
struct Added {
  std::int64_t kernels = 0;
  std::int64_t links = 0;
  std::int64_t known = 0;

  friend bool operator==(const Added&, const Added&) = default;
};

// One machine with what is known of it.
struct StoredMachine {
  Machine machine;
  std::int64_t origins = 0;
  std::int64_t rows = 0;
};

class Store {
 public:
  static constexpr int kVersion = 2;

  // For writing: makes the file (not its folder) if there is none, and brings an older one up to
  // date.
  static Result<Store> open(const std::string& path);
  // For reading; an older store is brought up to date in memory, the file stays as it is.
  static Result<Store> open_to_read(const std::string& path);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // Adds batches and then whole stores in one transaction; one entry for each, in that order.
  Result<std::vector<Added>> add(std::span<const Batch> batches,
                                 std::span<const Store> stores = {});

  // By chip and device.
  Result<std::vector<StoredMachine>> machines() const;
  // Everything of one chip ("" = of all chips), a batch an origin, by machine and then as it came.
  Result<std::vector<Batch>> batches(std::string_view chip = "") const;
  // One row for each kernel op of a chip, its time the median over all rows of that op: what the
  // cost model's tables take.
  Result<std::vector<Measurement>> kernel_table(const std::string& chip) const;

  // The rows that it holds.
  Result<std::int64_t> rows() const;

 private:
  explicit Store(Database database);
  Result<Added> add_batch(const Batch& batch);
  Result<Added> add_store(const Store& other);
  Result<std::int64_t> machine_id(const Machine& machine);
  // The id of a new origin, or nothing if it is known.
  Result<std::optional<std::int64_t>> new_origin(const Origin& origin, std::int64_t machine);

  std::unique_ptr<Database> database_;
};

// $XDG_DATA_HOME/narrows/measurements.db, or below ~/.local/share. Environment values as given;
// "" = not set. InvalidInput if neither tells a folder.
Result<std::string> default_store_path(const std::string& xdg_data_home, const std::string& home);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "store/schema.h"

#include <fmt/format.h>

#include <array>

namespace narrows {
namespace {

// Clocks are in Hz, times in seconds; 0 and "" are unknown.
constexpr const char* kMeasurements = R"(
CREATE TABLE machine(
  id INTEGER PRIMARY KEY, chip TEXT NOT NULL, device TEXT NOT NULL, clock REAL NOT NULL,
  memory_clock REAL NOT NULL, driver TEXT NOT NULL, libraries TEXT NOT NULL,
  UNIQUE(chip, device, clock, memory_clock, driver, libraries));
CREATE TABLE origin(
  id INTEGER PRIMARY KEY, machine INTEGER NOT NULL REFERENCES machine(id), kind TEXT NOT NULL,
  name TEXT NOT NULL, hash TEXT NOT NULL, part TEXT NOT NULL, date TEXT NOT NULL,
  UNIQUE(hash, part, machine));
CREATE TABLE measurement(
  id INTEGER PRIMARY KEY, origin INTEGER NOT NULL REFERENCES origin(id), op TEXT NOT NULL,
  direction TEXT NOT NULL, recipe TEXT NOT NULL, shape TEXT NOT NULL, time REAL NOT NULL,
  p10 REAL NOT NULL, p90 REAL NOT NULL, samples INTEGER NOT NULL, kernel TEXT NOT NULL);
CREATE INDEX measurement_by_origin ON measurement(origin);
)";

// What an origin's log holds beside: how much could not be named.
constexpr const char* kUnread = R"(
CREATE TABLE unread(
  id INTEGER PRIMARY KEY, origin INTEGER NOT NULL REFERENCES origin(id), why TEXT NOT NULL,
  count INTEGER NOT NULL, time REAL NOT NULL);
CREATE INDEX unread_by_origin ON unread(origin);
)";

constexpr std::array<const char*, 2> kSteps{kMeasurements, kUnread};

}  // namespace

Result<bool> is_store(const Database& database) {
  return TRY(database.integer("PRAGMA application_id")) == kApplicationId;
}

Status migrate(Database& database, int version) {
  std::int64_t found = TRY(database.integer("PRAGMA user_version"));
  const bool empty = TRY(database.integer("SELECT count(*) FROM sqlite_master")) == 0;
  if (!empty && !TRY(is_store(database))) {
    return invalid(fmt::format(
        "{}: expected a store of measurements, found another SQLite database", database.name()));
  }
  if (empty) found = 0;
  if (found > version) {
    return unsupported(fmt::format(
        "{}: expected a store of version {} or older, found {}: a newer narrows wrote it",
        database.name(), version, found));
  }
  if (found == version) return {};
  for (std::int64_t step = found; step < version; ++step)
    TRY(database.execute(kSteps[static_cast<std::size_t>(step)]));
  return database.execute(
      fmt::format("PRAGMA application_id={}; PRAGMA user_version={}", kApplicationId, version));
}

}  // namespace narrows

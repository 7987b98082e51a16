// What `narrows import` tells of the files that it read: text and JSON made from the same values.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "store/import.h"
#include "store/store.h"

namespace narrows {

// One file as it was read: batches, or the store at `store`.
struct ReadFile {
  std::string path;
  ForeignKind kind = ForeignKind::Unknown;
  std::vector<Batch> batches;
  std::optional<std::size_t> store;
  std::string words;  // what is said of a file that holds no measurements
};

struct ImportReport {
  std::string text;
  Json files = Json::array();
};

// What was done. `added` goes by all files' batches in order, then their stores.
ImportReport report_of(std::span<const ReadFile> files, std::span<const Added> added);

// A line for each file whose chip no profile knows: it is stored, but no plan can use it.
std::string unknown_chips(std::span<const ReadFile> files);

// "1 row", "2 rows".
std::string counted(std::int64_t n, const char* what);

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "measurement/kernel_tables.h"

#include <algorithm>

#include "measurement/table_text.h"

namespace narrows {
namespace embedded {
std::vector<EmbeddedFile> kernels();
}

namespace {

// Orders by family, then by chip.
struct ByKey {
  bool operator()(const Measurement& a, const Measurement& b) const {
    return a.family != b.family ? a.family < b.family : a.chip < b.chip;
  }
};

}  // namespace

Result<KernelTables> KernelTables::published() { return read(embedded::kernels()); }

Result<KernelTables> KernelTables::read(const std::vector<EmbeddedFile>& files) {
  KernelTables tables;
  for (const EmbeddedFile& file : files) {
    TRY(read_table(file.content, file.path, tables.rows_, tables.chips_));
  }
  std::stable_sort(tables.rows_.begin(), tables.rows_.end(), ByKey{});
  for (const Measurement& row : tables.rows_) {
    if (tables.chip(row.chip) == nullptr) {
      return invalid("kernel tables: chip \"" + row.chip +
                     "\" has rows but no rated peaks (family chip)");
    }
  }
  return tables;
}

std::span<const Measurement> KernelTables::rows(KernelFamily family) const {
  const auto first = std::partition_point(rows_.begin(), rows_.end(),
                                          [&](const Measurement& r) { return r.family < family; });
  const auto last = std::partition_point(first, rows_.end(),
                                         [&](const Measurement& r) { return r.family == family; });
  return {first, last};
}

std::span<const Measurement> KernelTables::rows(KernelFamily family, std::string_view chip) const {
  const std::span<const Measurement> all = rows(family);
  const auto first = std::partition_point(all.begin(), all.end(),
                                          [&](const Measurement& r) { return r.chip < chip; });
  const auto last =
      std::partition_point(first, all.end(), [&](const Measurement& r) { return r.chip == chip; });
  return {first, last};
}

const MeasuredChip* KernelTables::chip(std::string_view name) const {
  for (const MeasuredChip& chip : chips_) {
    if (chip.name == name) return &chip;
  }
  return nullptr;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "measurement/kernel_tables.h"

#include <algorithm>
#include <set>
#include <tuple>

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

// What rows of a user's own replace: a kind of op.
using Kind = std::tuple<KernelFamily, Recipe, Direction, bool, bool, std::string>;
Kind kind_of(const Measurement& row) {
  switch (row.family) {
    case KernelFamily::Matmul:
      return {row.family, row.recipe, row.direction, row.matmul.groups > 1, row.grid, ""};
    case KernelFamily::Attention:
      // Its rows do not tell formats apart, nor the parts of the backward pass.
      return {row.family,
              Recipe::Bf16,
              row.direction == Direction::Forward ? Direction::Forward : Direction::InputGrad,
              false,
              false,
              ""};
    case KernelFamily::Memory:
      break;
  }
  return {row.family, Recipe::Bf16, Direction::Forward, false, false, row.memory_class};
}

Result<MeasuredChip> measured_chip(const Chip& chip) {
  const auto peak = [&](const char* format) {
    const auto found = chip.peak.find(format);
    return found == chip.peak.end() ? FlopRate() : found->second.value;
  };
  MeasuredChip measured{chip.name,
                        chip.architecture.substr(0, chip.architecture.find('-')),
                        peak("bf16"),
                        peak("fp8"),
                        peak("fp4"),
                        chip.memory_bandwidth.value,
                        chip.multiprocessors ? chip.multiprocessors->value : 0};
  if (!(measured.multiprocessors > 0) || !(measured.bandwidth > Bandwidth())) {
    return unsupported("chip " + chip.name +
                       ": its profile gives no multiprocessors or no bandwidth, which its "
                       "measurements are compared with");
  }
  return measured;
}

}  // namespace

Result<KernelTables> KernelTables::preferring(const std::vector<Measurement>& own,
                                              const Chip& chip) const {
  KernelTables tables;
  tables.chips_ = chips_;
  std::set<Kind> kinds;
  for (const Measurement& row : own) {
    if (row.chip != chip.name)
      return invalid("kernel tables: expected rows of " + chip.name + ", found " + row.chip);
    kinds.insert(kind_of(row));
  }
  for (const Measurement& row : rows_) {
    if (row.chip != chip.name || kinds.count(kind_of(row)) == 0) tables.rows_.push_back(row);
  }
  if (this->chip(chip.name) == nullptr && !own.empty())
    tables.chips_.push_back(TRY(measured_chip(chip)));
  tables.rows_.insert(tables.rows_.end(), own.begin(), own.end());
  std::stable_sort(tables.rows_.begin(), tables.rows_.end(), ByKey{});
  return tables;
}

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

// The published kernel measurements of hwprofiles/kernels, as one flat table in memory. The files
// are comma-separated text: `#` lines say in prose what was measured, how rows were chosen and what
// the columns mean; then `name,value` lines hold for every row of the file; then a line `columns,…`
// names the columns, and rows follow. Times are in microseconds (`us`), traffic in 10^6 bytes
// (`mb`). A name that is not known, a missing one, a row of the wrong length or a number that is
// not positive is refused with file and line.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded.h"
#include "base/result.h"
#include "hardware/chip.h"
#include "measurement/measurement.h"

namespace narrows {

// Rated figures of a chip that was measured (chips.csv): what its times are fractions of.
struct MeasuredChip {
  std::string name;
  std::string architecture;
  FlopRate bf16;
  FlopRate fp8;  // 0 = the chip has none
  FlopRate fp4;
  Bandwidth bandwidth;
  double multiprocessors = 0;
};

class KernelTables {
 public:
  // The tables in the program.
  static Result<KernelTables> published();
  // Tables from files' contents; `path` is how messages call a file.
  static Result<KernelTables> read(const std::vector<EmbeddedFile>& files);

  // The same tables with a user's own rows of one chip before the published ones: of every kind of
  // op that `own` has rows of (matmuls by recipe, direction, grouping and grid; attention by
  // direction; moves by class), the chip's published rows are left out. Rows of other chips are
  // refused, as is a chip without multiprocessors and bandwidth.
  Result<KernelTables> preferring(const std::vector<Measurement>& own, const Chip& chip) const;

  // Rows of one family, sorted by chip; within a chip in the order of the files. Borrowed.
  std::span<const Measurement> rows(KernelFamily family) const;
  std::span<const Measurement> rows(KernelFamily family, std::string_view chip) const;
  // The rated figures of a chip; null if it was not measured. Borrowed.
  const MeasuredChip* chip(std::string_view name) const;
  const std::vector<MeasuredChip>& chips() const { return chips_; }

 private:
  std::vector<Measurement> rows_;  // sorted by family and chip
  std::vector<MeasuredChip> chips_;
};

}  // namespace narrows

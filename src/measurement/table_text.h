// The text form of kernel tables (kernel_tables.h describes it).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measurement/kernel_tables.h"

namespace narrows {

// Appends the rows of one file. `name` begins every message: "name:line: …".
Status read_table(std::string_view text, const std::string& name, std::vector<Measurement>& rows,
                  std::vector<MeasuredChip>& chips);

}  // namespace narrows

// The errors of a validation as a table.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "accuracy/validation_report.h"

namespace narrows {

// All runs, then group by group; the largest errors last.
std::string text_of(const ValidationReport& report);

}  // namespace narrows

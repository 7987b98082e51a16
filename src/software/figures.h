// The numbers of a software profile by name: what a fit reads, sets and writes down.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"
#include "software/profile.h"

namespace narrows {

// A number, time or size of the profile by its name in the file, in SI units; nothing for another
// kind of field or an unknown name.
std::optional<double> figure_of(const SoftwareProfile& profile, std::string_view field);
// The least and most that a file may give for it; from 0 for a time or a size.
FitBounds limits_of(std::string_view field);
// The field must be one that figure_of knows.
void set_figure(SoftwareProfile& profile, std::string_view field, double value);
// A value (SI) as a file would write it for that field, rounded to four digits: "2.113 us".
Json rounded_figure(std::string_view field, double value);

}  // namespace narrows

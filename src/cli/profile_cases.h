// Which ops of a model `narrows profile` times, on processors and on a GPU alike, and which of them
// are known already.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/own_measurements.h"
#include "cli/profile_options.h"
#include "cli/profiles.h"
#include "measure/shapes.h"

namespace narrows {

// The ops of the command's model in a space whose ranks and recipes are given, as the software
// fuses them.
Result<std::vector<OpCase>> cases_of_model(const ProfileCommand& command, const Profiles& profiles,
                                           ShapeSpace space, const std::string& software);

// Ops that rest on `least` samples and more, and links.
std::set<std::string> known_keys(const OwnMeasurements& own, int least);

}  // namespace narrows

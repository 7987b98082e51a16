// Chips in JSON: hwprofiles/chips/*.json and the chip inside a plan file. Strict: an unknown key,
// unit or number is refused with its place.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.h"
#include "hardware/chip.h"

namespace narrows {

Result<Chip> chip_from_json(JsonObject& object);
// Reads back to an equal chip.
Json to_json(const Chip& chip);

}  // namespace narrows

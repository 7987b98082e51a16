// A strategy as the plan file and `plan --json` write it: cli.md's names, in a fixed order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "plan/strategy.h"

namespace narrows {

Json to_json(const Strategy& strategy, const CommChoice& comm = {});

// Every field is required but "comm" (see comm_from_json). Only the form is checked here, not the
// rules of layout. The caller calls `finish`.
Result<Strategy> strategy_from_json(JsonObject& object);

// The member "comm" of the same object: each axis has {"algorithm": NAME} or {}. Absent = nothing
// chosen.
Result<CommChoice> comm_from_json(JsonObject& strategy_object);

}  // namespace narrows

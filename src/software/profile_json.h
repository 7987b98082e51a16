// A software profile as hwprofiles/software/*.json and plan files write it. Every field but the
// name, family, title, source and notes is {"value": …, "source": "…"}; all fields must be there,
// nothing else may. Times and sizes are text with a unit. A number, time or size that a fit may set
// carries its bounds too, written like the value: {"value": 0.8, "fit": {"low": 0.5, "high": 1},
// "source": "…"}, and "of" where another profile's file says so. What `"like"` means is the
// library's business (software/library.h): here a profile is complete. The member "spread" may be
// missing: {"dense": 1.3, "moe": 1.5}.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "software/profile.h"

namespace narrows {

Json to_json(const SoftwareProfile& profile);
// InvalidInput names file, line and field.
Result<SoftwareProfile> software_from_json(JsonObject& object);

}  // namespace narrows

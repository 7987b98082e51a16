// A user's own measurements as the cost model takes them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "measurement/measurement.h"

namespace narrows {

// The kernels of a chip in a store, medians by op, in the form of the published tables: as kernels
// of the software's `generation`; fp16 beside bf16 and per-tensor beside per-row fp8, which
// multiply alike; attention by its query heads. NotFound, with the chips that there are, if there
// are none.
Result<std::vector<Measurement>> measured_kernels(const std::string& path, const std::string& chip,
                                                  const std::string& generation);

}  // namespace narrows

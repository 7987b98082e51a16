// `narrows profile --device cuda`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "cli/console.h"
#include "cli/options.h"
#include "cli/profile_options.h"

namespace narrows {

// Device, NotFound or Unsupported, in one sentence, where there is no GPU, no module or no driver.
Result<int> profile_gpu_command(const ProfileCommand& command, const CommonOptions& common,
                                const Console& console);

}  // namespace narrows

// The program as an outline: words in, an exit code out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/console.h"

namespace narrows {

// `args` without the program's own name. Exit codes as docs/cli.md says.
int run(const std::vector<std::string>& args, const Console& console);

}  // namespace narrows

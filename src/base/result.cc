// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace narrows::detail {

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "narrows: internal error: %s:%d: %s does not hold; please report this\n", file, line, condition);
  std::abort();
}

}  // namespace narrows::detail

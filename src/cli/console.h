// Where a command speaks: results to `out`, all else to `err`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <ostream>
#include <string>

namespace narrows {

struct Console {
  std::ostream& out;
  std::ostream& err;
  bool terminal = false;                    // stderr is one: progress may be shown
  const std::atomic<bool>* stop = nullptr;  // Ctrl-C
};

}  // namespace narrows

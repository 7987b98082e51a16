// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <fmt/format.h>

namespace narrows {

Progress::Progress(const Console& console, bool quiet)
    : console_(console),
      wanted_(console.terminal && !quiet),
      next_(Clock::now() + std::chrono::seconds(1)) {}

Progress::~Progress() { clear(); }

void Progress::show(const std::string& what, double share) {
  if (!wanted_ || Clock::now() < next_) return;
  next_ = Clock::now() + std::chrono::milliseconds(200);
  const std::string percent = share > 0 ? fmt::format(" {:.0f} %", 100 * share) : "";
  console_.err << fmt::format("\r{:<60}", what + percent) << std::flush;
  shown_ = true;
}

void Progress::clear() {
  if (shown_) console_.err << fmt::format("\r{:<60}\r", "") << std::flush;
  shown_ = false;
}

}  // namespace narrows

// A line on stderr that says how far the search is: only on a terminal, only after a second, and
// never with --quiet. Gone when the work is done.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "cli/console.h"

namespace narrows {

class Progress {
 public:
  Progress(const Console& console, bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const std::string& what, double share);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  const Console& console_;
  bool wanted_;
  bool shown_ = false;
  Clock::time_point next_;
};

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "cli/run.h"

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// The first Ctrl-C ends the search with the best so far, the second ends the program.
void on_interrupt(int) {
  if (interrupted.exchange(true)) _exit(130);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGINT, on_interrupt);
  const narrows::Console console{std::cout, std::cerr, isatty(STDERR_FILENO) != 0, &interrupted};
  return narrows::run(std::vector<std::string>(argv + 1, argv + argc), console);
}

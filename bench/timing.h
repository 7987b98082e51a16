// Wall time of a piece of work: the least of several runs, which is what the machine can do.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace narrows {

template <typename Work>
Seconds least_time(int runs, Work work) {
  double least = 0;
  for (int run = 0; run < runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    least = run == 0 ? spent.count() : std::min(least, spent.count());
  }
  return least * sec;
}

// A program that times has nothing to time without its inputs.
template <typename T>
T needed(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(*result);
}

}  // namespace narrows

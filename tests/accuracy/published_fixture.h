// The carried runs and what predicts them, made once for all tests of the module.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "accuracy/predict_run.h"

namespace narrows {

struct Published {
  ProfileLibrary library = *ProfileLibrary::open({});
  KernelTables tables = *KernelTables::published();
  std::vector<Run> runs = *published_runs();

  const Run& run(const std::string& id) const {
    for (const Run& candidate : runs) {
      if (candidate.id == id) return candidate;
    }
    FAIL("no run " << id);
    return runs.front();
  }
};

inline const Published& published() {
  static const Published all;
  return all;
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cost/overlap.h"

#include <catch2/catch.hpp>

namespace narrows {
namespace {

// The definition, step by step: both run at their slowed rates until one has nothing left.
double stepped(double compute, double transfer, Contention by) {
  constexpr double kStep = 1e-4;
  double now = 0;
  while (compute > 0 || transfer > 0) {
    const bool both = compute > 0 && transfer > 0;
    if (compute > 0) compute -= kStep / (both ? by.compute : 1);
    if (transfer > 0) transfer -= kStep / (both ? by.transfer : 1);
    now += kStep;
  }
  return now;
}

}  // namespace

TEST_CASE("overlap: two streams that slow each other take what stepping through time says") {
  for (const double compute : {0.0, 0.3, 1.0, 2.0}) {
    for (const double transfer : {0.0, 0.2, 1.0, 3.0}) {
      for (const Contention by :
           {Contention{1, 1}, Contention{1.2, 1}, Contention{1, 1.4}, Contention{1.25, 1.3}}) {
        INFO(compute << " " << transfer << " " << by.compute << " " << by.transfer);
        CHECK(together(compute * sec, transfer * sec, by) / sec ==
              Approx(stepped(compute, transfer, by)).margin(3e-4));
      }
    }
  }
}

TEST_CASE("overlap: without contention the longer stream counts alone") {
  CHECK(together(2 * sec, 1 * sec, {}) == 2 * sec);
  CHECK(together(1 * sec, 2 * sec, {}) == 2 * sec);
}

TEST_CASE("overlap: collectives take multiprocessors from what is bound by them only") {
  SoftwareProfile software;
  software.collective_multiprocessors = 20;
  Chip chip;
  chip.multiprocessors.emplace();
  chip.multiprocessors->value = 100;
  CHECK(contention_of(software, chip, 1).compute == Approx(1.25));
  CHECK(contention_of(software, chip, 0).compute == Approx(1));
  CHECK(contention_of(software, chip, 0.5).compute == Approx(1.125));
}

}  // namespace narrows

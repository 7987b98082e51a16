// SPDX-License-Identifier: Apache-2.0
#include "cost/kernel_time.h"

#include <catch2/catch.hpp>

#include "cost/kernel_time_fixture.h"

namespace narrows {
namespace {

TEST_CASE("kernel time: a measured shape takes what was measured") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "h100-sxm5"));
  const Estimate estimate =
      times.matmul(Recipe::Bf16, Direction::Forward, {exactly(4096), 4096, 7168, 1});
  CHECK(estimate.basis == Basis::Measured);
  // 308.3 and 319.3 us in the two stacks.
  CHECK(estimate.time / us == Approx(313.8).margin(0.05));
}

}  // namespace
}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "cost/collective_time.h"

#include <catch2/catch.hpp>

namespace narrows {
namespace {

TEST_CASE("collective: no bytes take no time") {
  CHECK(collective_time({}, Span{{8}}, Cluster{}).time == Seconds{});
}

}  // namespace
}  // namespace narrows

// What a piece of work usually takes.
// SPDX-License-Identifier: Apache-2.0
#include "timeline/usual_mean.h"

#include <catch2/catch.hpp>

namespace narrows {

TEST_CASE("usual mean: two paces count by how often they were met, an interruption does not") {
  const std::vector<Tick> times = {Tick{100}, Tick{140}, Tick{140}, Tick{100}, Tick{9000}};
  CHECK(usual_mean(times) / ns == Approx(120));
  CHECK(usual_mean({Tick{7}}) / ns == Approx(7));
  // Up to three times the median is the work's own.
  CHECK(usual_mean({Tick{10}, Tick{10}, Tick{30}}) / ns == Approx(50.0 / 3));
}

}  // namespace narrows

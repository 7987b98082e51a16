// SPDX-License-Identifier: Apache-2.0
#include "hardware/quantity_text.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/text.h"

using namespace narrows;

TEST_CASE("quantities: the shortest text in a unit that people use") {
  CHECK(exact_text(80 * GB) == "80 GB");
  CHECK(exact_text(84943110144.0 * byte) == "84943110144 B");
  CHECK(exact_text(3.35 * (TB / sec)) == "3350 GB/s");
  CHECK(exact_text(989.4 * (TFLOP / sec)) == "989.4 TFLOP/s");
  CHECK(exact_text(3.33 * us) == "3.33 us");
  CHECK(exact_text(2 * (usd / hour)) == "2 USD/h");
  CHECK(exact_text(665.61 * mm2) == "665.61 mm2");
}

TEST_CASE("quantities: any value reads back to the same bits") {
  Random random(7);
  for (int i = 0; i < 20000; ++i) {
    const double value = random.uniform() * static_cast<double>(1ull << random.below(50));
    REQUIRE(*parse_bytes(exact_text(Bytes::in_base_units(value))) == Bytes::in_base_units(value));
    REQUIRE(*parse_bandwidth(exact_text(Bandwidth::in_base_units(value))) ==
            Bandwidth::in_base_units(value));
    REQUIRE(*parse_seconds(exact_text(Seconds::in_base_units(value))) ==
            Seconds::in_base_units(value));
    // Prices have no base unit in text: whole cents an hour are exact.
    const PricePerTime price = static_cast<double>(random.below(100000)) / 100 * (usd / hour);
    REQUIRE(*parse_price(exact_text(price)) / (usd / hour) ==
            Approx(price / (usd / hour)).epsilon(1e-15));
  }
}

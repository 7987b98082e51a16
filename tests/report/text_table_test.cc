// SPDX-License-Identifier: Apache-2.0
#include "report/text_table.h"

#include <catch2/catch.hpp>

namespace narrows {

TEST_CASE("text: columns are aligned and lines end without spaces") {
  TextTable table("lr");
  table.row({"a", "1"}).row({"long name", "1,000"}).row({"b"});
  CHECK(table.text() == "  a              1\n  long name  1,000\n  b\n");
}

TEST_CASE("text: width counts characters, not bytes") {
  TextTable table("lr", 0);
  table.row({"µs", "1"}).row({"ns", "2"});
  CHECK(table.text() == "µs  1\nns  2\n");
}

TEST_CASE("text: words wrap before the width") {
  CHECK(wrapped("one two three", 2, 9) == "  one two\n  three\n");
  CHECK(wrapped("indivisible", 2, 5) == "  indivisible\n");
}

TEST_CASE("text: numbers carry sensible digits and separators") {
  CHECK(number_text(2.345) == "2.35");
  CHECK(number_text(54.26) == "54.3");
  CHECK(number_text(1234.4) == "1,234");
  CHECK(number_text(2788123) == "2,788,000");
  CHECK(number_text(-12.34) == "-12.3");
  CHECK(duration_text(0.0353 * sec) == "35.3 ms");
  CHECK(duration_text(10.634 * sec) == "10.63 s");
  CHECK(duration_text(Seconds()) == "0.00 s");
  CHECK(dollars_text(5576123) == "$5,576,000");
  CHECK(dollars_text(2) == "$2.00");
  CHECK(gib_text(1433 * GiB) == "1,433 GiB");
  CHECK(percent_text(0.3894) == "38.9 %");
  CHECK(difference_text(-0.012) == "-1.2 %");
}

TEST_CASE("text: blocks stand side by side though one is longer") {
  CHECK(side_by_side("a\nbb\n", "x\ny\nz\n", 2) == "a   x\nbb  y\n    z\n");
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "report/op_table.h"

#include <catch2/catch.hpp>

namespace narrows {
namespace {

std::vector<OpTotal> two_steps() {
  OpTotal up{{.block = "ffn", .name = "up", .direction = "F", .shape = "48x32", .format = "bf16"},
             8,
             64,
             {6'000'000}};
  up.label.flops_a_row = 3e6;
  return {up,
          {{.name = "read tokens", .kind = "step"}, 2, 0, {2'000'000}},
          {{.name = "send weights", .kind = "step"}, 2, 0, {1000}}};
}

}  // namespace

TEST_CASE("op table: milliseconds a step, shares, and FLOP/s where it multiplies") {
  const std::string text = op_table(two_steps(), {.steps = 2, .ranks = 1});
  CHECK_THAT(text, Catch::Matchers::Contains(
                       "  ffn: up      F  48x32  bf16       4  3.00  75.0 %       32\n"));
  CHECK_THAT(text,
             Catch::Matchers::Contains("  read tokens                       1  1.00  25.0 %\n"));
  CHECK_THAT(text,
             Catch::Matchers::Contains("  the rest                             0.00   0.0 %\n"));
  CHECK_THAT(text, Catch::Matchers::Contains("  all                                  4.00\n"));
}

TEST_CASE("op table: nothing that ran is no table") {
  CHECK(op_table({}, {}) == "");
  CHECK(op_table_json({}, {}).items().empty());
}

TEST_CASE("op table: as data every op is a line, in seconds a step and rank") {
  const Json list = op_table_json(two_steps(), {.steps = 2, .ranks = 2});
  REQUIRE(list.items().size() == 3);
  const Json& up = list.items().front();
  CHECK(up.find("op")->string() == "up");
  CHECK(up.find("runs")->number() == 2);
  CHECK(up.find("seconds")->number() == Approx(0.0015));
  CHECK(up.find("flops")->number() == Approx(3e6 * 64 / 0.006));
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "timeline/op_totals.h"

#include <catch2/catch.hpp>

namespace narrows {
namespace {

OpLabel label(const char* name, int layer, const char* direction) {
  return {.block = "ffn", .layer = layer, .name = name, .direction = direction};
}

}  // namespace

TEST_CASE("op totals: layers, ranks and steps of one op and direction together, longest first") {
  Timeline t;
  t.ranks = 2;
  t.op_labels = {label("up", 0, "F"), label("up", 1, "F"), label("up", 0, "I"),
                 label("down", 0, "F")};
  t.ops = {{0, 0, 8, {0}, {5}}, {0, 1, 8, {5}, {9}}, {0, 2, 8, {9}, {29}}, {1, 1, 4, {0}, {6}}};
  const std::vector<OpTotal> totals = op_totals(t);
  REQUIRE(totals.size() == 2);  // what never ran is not listed
  CHECK(totals[0] == OpTotal{label("up", -1, "I"), 1, 8, {20}});
  CHECK(totals[1] == OpTotal{label("up", -1, "F"), 3, 20, {15}});
}

TEST_CASE("op totals: of equals the first stays first") {
  std::vector<OpTotal> totals;
  add_to(totals, {label("b", 0, "F"), 1, 1, {3}});
  add_to(totals, {label("a", 0, "F"), 1, 1, {2}});
  add_to(totals, {label("a", 7, "F"), 1, 1, {1}});
  sort_by_time(totals);
  CHECK(totals[0].label.name == "b");
  CHECK(totals[1] == OpTotal{label("a", -1, "F"), 2, 2, {3}});
}

}  // namespace narrows

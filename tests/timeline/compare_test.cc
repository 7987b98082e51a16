// SPDX-License-Identifier: Apache-2.0
#include "timeline/compare.h"

#include <catch2/catch.hpp>

using namespace narrows;

namespace {

Timeline timeline_of(std::vector<TimeSpan> spans, std::vector<std::string> streams = {"compute"}) {
  return {.ranks = 2, .streams = std::move(streams), .spans = std::move(spans), .memory = {}};
}

}  // namespace

TEST_CASE("compare: durations are summed by kind, chunk and micro-batch apart") {
  const Timeline predicted = timeline_of({{0, 0, "F0", {0}, {10}},
                                          {0, 0, "f1", {10}, {20}},
                                          {0, 0, "F2&b1", {20}, {50}},
                                          {1, 0, "F0", {10}, {20}}});
  const Timeline measured = timeline_of({{0, 0, "F0", {5}, {16}},
                                         {0, 0, "f1", {16}, {28}},
                                         {0, 0, "F2&b1", {30}, {55}},
                                         {1, 0, "F0", {30}, {43}}});
  const Comparison found = compare(predicted, measured);
  CHECK(found.kinds == std::vector<KindDifference>{{"F", 3, {30}, {36}}, {"F&B", 1, {30}, {25}}});
  CHECK(found.predicted_end == Tick{50});
  CHECK(found.measured_end == Tick{55});
  CHECK(found.same_order);
  CHECK(found.only_predicted == 0);
  CHECK(found.only_measured == 0);
}

TEST_CASE("compare: streams go by name, and what has no partner is counted") {
  const Timeline predicted =
      timeline_of({{0, 0, "F0", {0}, {10}}, {0, 1, "send", {10}, {12}}}, {"compute", "network"});
  const Timeline measured =
      timeline_of({{0, 1, "F0", {0}, {11}}, {0, 1, "F1", {11}, {20}}}, {"network", "compute"});
  const Comparison found = compare(predicted, measured);
  CHECK(found.kinds == std::vector<KindDifference>{{"F", 1, {10}, {11}}});
  CHECK(found.only_predicted == 1);
  CHECK(found.only_measured == 1);
  CHECK_FALSE(found.same_order);
}

TEST_CASE("compare: the order of spans on a stream is seen, not their times") {
  const Timeline predicted =
      timeline_of({{0, 0, "F0", {0}, {1}}, {0, 0, "F1", {1}, {2}}, {1, 0, "F0", {1}, {2}}});
  Timeline measured =
      timeline_of({{1, 0, "F0", {9}, {10}}, {0, 0, "F1", {7}, {8}}, {0, 0, "F0", {3}, {4}}});
  CHECK(compare(predicted, measured).same_order);
  std::swap(measured.spans[1].name, measured.spans[2].name);
  CHECK_FALSE(compare(predicted, measured).same_order);
}

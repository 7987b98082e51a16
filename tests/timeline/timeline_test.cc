// SPDX-License-Identifier: Apache-2.0
#include "timeline/timeline.h"

#include <catch2/catch.hpp>

using namespace narrows;

namespace {

Timeline two_ranks() {
  return {.ranks = 2,
          .spans = {{.rank = 0, .name = "F0", .start = {0}, .end = {10}},
                    {.rank = 0, .name = "B0", .start = {30}, .end = {50}},
                    {.rank = 1, .name = "F0", .start = {10}, .end = {20}},
                    {.rank = 1, .name = "F1&b0", .start = {20}, .end = {50}}},
          .memory = {}};
}

}  // namespace

TEST_CASE("picture: a span is its name filled up to its length, a point is idle") {
  CHECK(picture(two_ranks(), Tick{10}) ==
        "time  0  1  2  3  4\n"
        "r0    F0 .  .  B0---\n"
        "r1    .  F0 F1&b0---\n");
}

TEST_CASE("picture: cells are as wide as the longest name needs, unless a width is given") {
  Timeline timeline = two_ranks();
  timeline.spans[0].name = "F119";
  CHECK(picture(timeline, Tick{10}) ==
        "time  0    1    2    3    4\n"
        "r0    F119 .    .    B0-------\n"
        "r1    .    F0-- F1&b0---------\n");
  CHECK(picture(timeline, {.cell = {10}, .width = 3}) ==
        "time  0  1  2  3  4\n"
        "r0    F1 .  .  B0---\n"
        "r1    .  F0 F1&b0---\n");
}

TEST_CASE("picture: marks count groups of cells") {
  CHECK(picture(two_ranks(), {.cell = {5}, .width = 3, .cells_a_mark = 2}) ==
        "time  0     1     2     3     4\n"
        "r0    F0--- .  .  .  .  B0---------\n"
        "r1    .  .  F0--- F1&b0------------\n");
}

TEST_CASE(
    "picture: starts and ends are rounded to cells, and what is left without one is not drawn") {
  const Timeline timeline{.ranks = 1,
                          .spans = {{.name = "F0", .start = {1}, .end = {13}},
                                    {.name = "F1", .start = {13}, .end = {14}},
                                    {.name = "F2", .start = {14}, .end = {28}}},
                          .memory = {}};
  CHECK(picture(timeline, Tick{10}) ==
        "time  0  1  2\n"
        "r0    F0 F2---\n");
}

TEST_CASE("picture: several streams are lines of their own") {
  Timeline timeline = two_ranks();
  timeline.streams = {"compute", "network"};
  timeline.spans.push_back({.rank = 1, .stream = 1, .name = "send", .start = {20}, .end = {30}});
  CHECK(picture(timeline, Tick{10}) ==
        "time       0    1    2    3    4\n"
        "r0 compute F0-- .    .    B0-------\n"
        "r0 network .    .    .    .    .\n"
        "r1 compute .    F0-- F1&b0---------\n"
        "r1 network .    .    send .    .\n");
}

TEST_CASE("picture: the small one has a letter a cell") {
  CHECK(small_picture(two_ranks(), Tick{5}) ==
        "r0    FF....BBBB\n"
        "r1    ..FF&&&&&&\n");
}

TEST_CASE("timeline: its end is that of its last span, and nothing ends at 0") {
  CHECK(end_of(two_ranks()) == Tick{50});
  CHECK(end_of({}) == Tick{});
  CHECK(picture({}, Tick{1}) == "time\nr0\n");
}

// SPDX-License-Identifier: Apache-2.0
#include "report/perfetto.h"

#include <catch2/catch.hpp>

#include "base/json.h"

namespace narrows {

TEST_CASE("trace: a process a rank, a slice a span, a counter of memory, in microseconds") {
  Timeline timeline;
  timeline.ranks = 2;
  timeline.spans = {{0, 0, "F0", {0}, {1500}}, {1, 0, "F3&b1", {1500}, {4000}}};
  timeline.memory = {{1, {1500}, 2 * GiB}};
  const Result<Json> json = parse_json(perfetto_trace(timeline, "a \"title\""), "trace");
  REQUIRE(json);
  const auto& events = json->find("traceEvents")->items();
  REQUIRE(events.size() == 7);  // 2 processes, 2 threads, 2 slices, 1 sample
  const Json& pair = events[5];
  CHECK(pair.find("name")->string() == "F3&b1");
  CHECK(pair.find("cat")->string() == "F&B");
  CHECK(pair.find("pid")->integer() == 1);
  CHECK(pair.find("ts")->number() == 1.5);
  CHECK(pair.find("dur")->number() == 2.5);
  CHECK(events[6].find("args")->find("GiB")->number() == 2);
  CHECK(json->find("otherData")->find("title")->string() == "a \"title\"");
}

}  // namespace narrows

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

TEST_CASE("trace: an op is a slice on the first stream, with its shape") {
  Timeline timeline;
  timeline.spans = {{0, 0, "F0", {0}, {9000}}};
  timeline.op_labels = {{.block = "ffn",
                         .layer = 3,
                         .name = "up",
                         .kind = "matmul",
                         .direction = "F",
                         .shape = "48x32",
                         .format = "bf16"}};
  timeline.ops = {{0, 0, 16, {2000}, {5000}}};
  const Result<Json> json = parse_json(perfetto_trace(timeline, ""), "trace");
  REQUIRE(json);
  const Json& op = json->find("traceEvents")->items().back();
  CHECK(op.find("name")->string() == "up F");
  CHECK(op.find("cat")->string() == "matmul");
  CHECK(op.find("tid")->integer() == 0);
  CHECK(op.find("ts")->number() == 2);
  CHECK(op.find("dur")->number() == 3);
  CHECK(op.find("args")->find("layer")->integer() == 3);
  CHECK(op.find("args")->find("shape")->string() == "16x48x32");
}

}  // namespace narrows

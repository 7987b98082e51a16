// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <catch2/catch.hpp>

#include "base/text.h"

using namespace narrows;

namespace {

std::string complaint(const std::string& text) {
  const Result<Json> parsed = parse_json(text, "f.json");
  return parsed ? "accepted: " + parsed->compact() : parsed.error().message;
}

}  // namespace

TEST_CASE("json: what is written reads back the same") {
  const std::string text = R"({"a":1,"b":[1.5,"x\n",null,true],"c":{"d":1e+300}})";
  CHECK(complaint(text) == "accepted: " + text);
}

TEST_CASE("json: every complaint names file and line") {
  CHECK(complaint("{\n\"a\": 1,\n\"a\": 2}") == "f.json:3: the key \"a\" stands twice");
  CHECK(complaint("{\n\"a\": 1e999}").starts_with("f.json:2: expected a number within"));
  CHECK(complaint("{\"a\": NaN}").starts_with("f.json:1: not valid JSON"));
  CHECK(complaint("{} x").starts_with("f.json:1: not valid JSON"));
  CHECK(complaint("").starts_with("f.json:1: not valid JSON"));
}

TEST_CASE("json: 200,000 nested brackets are refused, not recursed into") {
  CHECK(complaint(std::string(200000, '[')) ==
        "f.json:1: expected at most 64 levels of nesting, found more");
}

TEST_CASE("json: zero has no sign") {
  CHECK(complaint("[-0, -0.0, -1e-381]") == "accepted: [0,0,0]");
}

TEST_CASE("json: a NUL byte is not the end of the text") {
  CHECK(complaint(std::string("{}\n\0 x", 6)) ==
        "f.json:2: not valid JSON: a NUL byte; is this a text file?");
  CHECK(complaint("[\"\\u0000\"]").starts_with("accepted"));
}

TEST_CASE("json: a reader refuses wrong types, ranges and unknown keys with their place") {
  const Json root = *parse_json(
      "{\n  \"rate\": 3350,\n  \"size\": \"-1 GB\",\n  \"layers\": 9e99,\n  \"layesr\": 1\n}",
      "f.json");
  JsonObject object = *JsonObject::of(root, "f.json");
  CHECK(object.quantity<Bandwidth>("rate").error().message ==
        "f.json:2: rate: expected a bandwidth such as \"3.35 TB/s\", found the number 3350");
  CHECK(object.quantity<Bytes>("size").error().message ==
        "f.json:3: size: expected a size such as \"80 GiB\", found \"-1 GB\"");
  CHECK(object.integer("layers", 1, 1000).error().message ==
        "f.json:4: layers: expected a whole number from 1 to 1000, found the number 9e+99");
  CHECK(object.finish().error().message ==
        "f.json:5: layesr: unknown key; did you mean \"layers\"?");
}

TEST_CASE(
    "json: an object of 200,000 keys reads in a moment, and a key that stands twice is found") {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += "\"key_" + std::to_string(i) + "\": 1,\n";
  CHECK(complaint(text + "\"last\": 1}").starts_with("accepted"));
  CHECK(complaint(text + "\"key_7\": 1}") == "f.json:200001: the key \"key_7\" stands twice");
}

TEST_CASE("text: numbers as people write them") {
  CHECK(*parse_count("14.8T") == 14800000000000);
  CHECK(*parse_count("4K", true) == 4096);
  CHECK(*parse_count("4096") == 4096);
  CHECK_FALSE(parse_count("abc"));
  CHECK_FALSE(parse_count("-3"));
  CHECK_FALSE(parse_count("1.5"));
  CHECK_FALSE(parse_count("9e99"));
  CHECK(*parse_bandwidth("3.35 TB/s") / (GB / sec) == Approx(3350));
  CHECK(*parse_bandwidth("400Gb/s") / (GB / sec) == Approx(50));
  CHECK(*parse_price("$2/h") / (usd / hour) == Approx(2));
  CHECK_FALSE(parse_bandwidth("3.35 TB"));
  CHECK(with_commas(2048) == "2,048");
  CHECK(closest("deepsek-v3", {"deepseek-v3", "llama"}) == "deepseek-v3");
}

TEST_CASE("units: durations round up to whole ticks") {
  CHECK(round_up(1.5 * ns) == Tick{2});
  CHECK(round_up(2 * ns) == Tick{2});
  CHECK((10.0 * GB) / (5.0 * GB / sec) == 2.0 * sec);
}

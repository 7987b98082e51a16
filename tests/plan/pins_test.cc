// SPDX-License-Identifier: Apache-2.0
#include "plan/pins.h"

#include <catch2/catch.hpp>
#include <string>

#include "plan/jobs.h"

namespace narrows {
namespace {

std::string complaint(const std::string& text) {
  const Result<Pins> pins = parse_pins(text);
  REQUIRE_FALSE(pins.has_value());
  return pins.error().message;
}

}  // namespace

TEST_CASE("pins: V3's published layout as people type it") {
  const Result<Pins> pins = parse_pins(
      "tp=1,pp=16,ep=64,zero=1,micro_batch=1,schedule=dualpipe,precision=fp8-block,recompute=v3");
  REQUIRE(pins.has_value());
  CHECK(pins->pp == 16);
  CHECK(pins->schedule == ScheduleKind::DualPipe);
  CHECK_FALSE(pins->dp.has_value());
  CHECK(agrees(v3_strategy(), *pins));
  Strategy other = v3_strategy();
  other.ep = 32;
  CHECK_FALSE(agrees(other, *pins));
}

TEST_CASE("pins: what is written reads back, for every field") {
  Strategy s = v3_strategy();
  s.order = AxisOrder::TpCpPpDp;
  const Pins pins = pins_of(s);
  CHECK(to_string(pins) ==
        "tp=1,pp=16,vpp=1,ep=64,etp=1,cp=1,dp=128,dp_shard=128,zero=1,micro_batch=1,micro_batches="
        "120,"
        "sequence_parallel=false,order=tp-cp-pp-dp,schedule=dualpipe,precision=fp8-block,recompute="
        "v3");
  CHECK(*parse_pins(to_string(pins)) == pins);
  CHECK(agrees(s, pins));
  CHECK(to_string(Pins{}) == "");
}

TEST_CASE("pins: nothing, auto and a trailing comma pin nothing") {
  CHECK(*parse_pins("") == Pins{});
  CHECK(*parse_pins("recompute=auto,tp=auto") == Pins{});
  CHECK(parse_pins("tp=2,")->tp == 2);
}

TEST_CASE("pins: fp8 means the recipe of the chip's generation") {
  CHECK(parse_pins("precision=fp8", plain_fp8_of("hopper"))->precision == Recipe::Fp8Block);
  CHECK(parse_pins("precision=fp8", plain_fp8_of("blackwell"))->precision == Recipe::Mxfp8);
}

TEST_CASE("pins: an unknown key is refused, the nearest is named") {
  CHECK(complaint("micro_batchs=2") ==
        "micro_batchs: unknown field of a strategy; did you mean \"micro_batch\"?");
  CHECK(complaint("tensor_parallel_size=8")
            .starts_with("tensor_parallel_size: unknown field of a strategy; known are tp pp "));
  CHECK(complaint("comm=ring").starts_with("comm: unknown field"));
}

TEST_CASE("pins: a value that does not parse is refused with what was expected") {
  CHECK(complaint("tp=eight") == "tp=eight: expected a positive whole number");
  CHECK(complaint("tp=0") == "tp=0: expected a positive whole number");
  CHECK(complaint("tp=-8") == "tp=-8: expected a positive whole number");
  CHECK(complaint("tp=1.5") == "tp=1.5: expected a positive whole number");
  CHECK(complaint("tp=9e99") == "tp=9e99: expected a positive whole number");
  CHECK(complaint("tp=") == "tp=: expected a positive whole number");
  CHECK(complaint("zero=4") == "zero=4: expected 0, 1, 2 or 3");
  CHECK(complaint("sequence_parallel=yes") == "sequence_parallel=yes: expected true or false");
  CHECK(complaint("schedule=dualpip") ==
        "schedule=dualpip: expected a schedule; did you mean \"dualpipe\"?");
  CHECK(complaint("precision=fp8-blok") ==
        "precision=fp8-blok: expected a recipe; did you mean \"fp8-block\"?");
  CHECK(complaint("recompute=everything") ==
        "recompute=everything: expected a recompute class (one of none selective full v3)");
  CHECK(complaint("order=pp-dp") ==
        "order=pp-dp: expected an order of the axes (one of tp-cp-dp-pp tp-cp-pp-dp)");
}

TEST_CASE("pins: a schedule that is known but not built is unsupported") {
  CHECK(parse_pins("schedule=v-half").error().code == ErrorCode::Unsupported);
}

TEST_CASE("pins: no equals sign, no key, and a key twice are refused") {
  CHECK(complaint("tp") == "\"tp\": expected a pin such as tp=8");
  CHECK(complaint("=8") == "\"=8\": expected a pin such as tp=8");
  CHECK(complaint("tp=8,,pp=2") == "\"\": expected a pin such as tp=8");
  CHECK(complaint("tp=8,tp=8") == "tp: pinned twice");
}

}  // namespace narrows

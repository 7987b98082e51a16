// What `--fix` pins: fields of the strategy by their JSON names, `tp=8,pp=16,schedule=dualpipe`.
// What is not pinned is searched. dp and micro_batches follow from the rest, but may be pinned and
// must then agree.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "plan/strategy.h"

namespace narrows {

struct Pins {
  std::optional<int> tp, pp, vpp, ep, etp, cp, dp, dp_shard, zero, micro_batch;
  std::optional<std::int64_t> micro_batches;
  std::optional<bool> sequence_parallel;
  std::optional<AxisOrder> order;
  std::optional<ScheduleKind> schedule;
  std::optional<Recipe> precision;  // "fp8" is resolved by the chip's architecture: see parse_pins
  std::optional<Recompute> recompute;

  friend bool operator==(const Pins&, const Pins&) = default;
};

// `text` is the option's value; later calls may add to `pins`. "fp8" means `plain_fp8` (fp8-block
// on Hopper, mxfp8 on Blackwell). "auto" for any key leaves it to the search. InvalidInput for an
// unknown key (with "did you mean"), a key twice, a value that is no positive whole number or no
// known name.
Result<Pins> parse_pins(std::string_view text, Recipe plain_fp8 = Recipe::Fp8Block);

// A recipe's name as `--precision` and `precision=` take it.
Result<Recipe> parse_recipe(std::string_view name, Recipe plain_fp8 = Recipe::Fp8Block);
// What "fp8" means on an architecture ("hopper", "blackwell", …).
Recipe plain_fp8_of(std::string_view architecture);

// Whether the strategy agrees with every pin.
bool agrees(const Strategy& strategy, const Pins& pins);
// All of a strategy's fields as pins: the space of one.
Pins pins_of(const Strategy& strategy);
// "tp=8,pp=16", in the order of the JSON; "" for none.
std::string to_string(const Pins& pins);

}  // namespace narrows

// Values of options as people write them; an error names the option and the value.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/options.h"

namespace narrows {

// The text of one option, and the option's name for messages.
struct OptionText {
  const char* option = "";
  std::string text;
};

// A whole number from 1 on: "14.8T"; "4K" is 4096 for lengths of sequences.
Result<std::int64_t> positive_count(const OptionText& from, bool binary_k = false);
Result<int> positive_int(const OptionText& from);
// "30", "30s", "2min" are seconds.
Result<Seconds> positive_seconds(const OptionText& from);
// "$2/h", "2 USD/h" or a bare number of dollars an hour.
Result<PricePerTime> positive_price(const OptionText& from);
Result<Setting> setting(const OptionText& from);
// Without empty parts.
Result<std::vector<std::string>> comma_separated(const OptionText& from);
// One of the known words.
Result<std::string> one_of(const OptionText& from, const std::vector<std::string>& known);

}  // namespace narrows

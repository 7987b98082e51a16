// Numbers and quantities as people write them: `14.8T` tokens, `4K` sequence, `80GiB`, `3.35 TB/s`,
// `$2/h`; and back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace narrows {

// A plain decimal number, all of it, finite. No suffix.
Result<double> parse_number(std::string_view text);
// A count with an optional suffix K M G B T P (powers of 1000; Ki Mi Gi Ti powers of 1024):
// "14.8T", "512Ki". For `binary_k` (lengths of sequences) K and M are powers of 1024 as the field
// uses them: "4K" = 4096. Must be whole.
Result<std::int64_t> parse_count(std::string_view text, bool binary_k = false);

// A number with a unit of the wanted dimension, with or without a space. InvalidInput says what was
// expected.
Result<Seconds> parse_seconds(std::string_view text);      // "3.7 us"
Result<Bytes> parse_bytes(std::string_view text);          // "80 GiB"
Result<Bandwidth> parse_bandwidth(std::string_view text);  // "3.35 TB/s", "400 Gb/s"
Result<FlopRate> parse_flop_rate(std::string_view text);   // "989.4 TFLOP/s", "1979 TOP/s"
Result<Frequency> parse_frequency(std::string_view text);  // "1830 MHz"
Result<Watts> parse_watts(std::string_view text);          // "700 W"
Result<Area> parse_area(std::string_view text);            // "814 mm2"
Result<Dollars> parse_dollars(std::string_view text);      // "270000 USD", "$5M"
Result<PricePerTime> parse_price(std::string_view text);   // "2 USD/h", "$2/h"

// Overloads by type for generic readers.
template <typename Q>
Result<Q> parse_quantity(std::string_view text);
// "a bandwidth such as \"3.35 TB/s\"".
template <typename Q>
std::string_view expected_text();

// Nearest known name by edit distance, or "" if none is close: for "did you mean".
std::string closest(std::string_view word, const std::vector<std::string>& known);

// 2048 -> "2,048".
std::string with_commas(std::int64_t n);
// Three significant digits and a decimal suffix: 14800000000000 -> "14.8T".
std::string short_count(double n);

}  // namespace narrows

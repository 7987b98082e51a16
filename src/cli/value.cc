// SPDX-License-Identifier: Apache-2.0
#include "cli/value.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace narrows {
namespace {

tl::unexpected<Error> wrong(const OptionText& from, const std::string& expected) {
  return invalid(
      fmt::format("{}: expected {}, found \"{}\"", from.option, expected, from.text.substr(0, 60)));
}

}  // namespace

Result<std::int64_t> positive_count(const OptionText& from, bool binary_k) {
  const Result<std::int64_t> count = parse_count(from.text, binary_k);
  if (!count || *count < 1)
    return wrong(from, binary_k ? "a positive whole number such as 4096 or 4K"
                                : "a positive whole number such as 2048 or 14.8T");
  return *count;
}

Result<int> positive_int(const OptionText& from) {
  const Result<std::int64_t> count = parse_count(from.text);
  if (!count || *count < 1 || *count > (1 << 24))
    return wrong(from, "a positive whole number up to 16,777,216");
  return static_cast<int>(*count);
}

Result<Seconds> positive_seconds(const OptionText& from) {
  const Result<double> plain = parse_number(from.text);
  if (plain && *plain > 0) return *plain * sec;
  const Result<Seconds> time = parse_seconds(from.text);
  if (!plain && time && *time > Seconds()) return *time;
  return wrong(from, "a positive number of seconds");
}

Result<PricePerTime> positive_price(const OptionText& from) {
  const Result<double> plain = parse_number(from.text);
  if (plain && *plain > 0) return *plain * (usd / hour);
  const Result<PricePerTime> price = parse_price(from.text);
  if (!plain && price && *price > PricePerTime()) return *price;
  return wrong(from, "dollars for a GPU-hour such as $2/h");
}

Result<Setting> setting(const OptionText& from) {
  const std::size_t equals = from.text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == from.text.size())
    return wrong(from, "PATH=VALUE such as cluster.levels.1.usable=25GB/s");
  return Setting{from.text.substr(0, equals), from.text.substr(equals + 1)};
}

Result<std::vector<std::string>> comma_separated(const OptionText& from) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= from.text.size()) {
    const std::size_t end = std::min(from.text.find(',', begin), from.text.size());
    if (end == begin) return wrong(from, "names with commas between them");
    parts.push_back(from.text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Result<std::string> one_of(const OptionText& from, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), from.text) != known.end()) return from.text;
  return wrong(from, fmt::format("one of {}", fmt::join(known, " ")));
}

}  // namespace narrows

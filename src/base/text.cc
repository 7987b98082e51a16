// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

namespace narrows {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Splits "3.35 TB/s" into 3.35 and "TB/s"; false if no finite number stands in front.
bool split(std::string_view text, double& number, std::string_view& unit) {
  text = trim(text);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number)) return false;
  unit = trim(text.substr(static_cast<std::size_t>(end - text.data())));
  return true;
}

template <typename Q>
Result<Q> parse_with(std::string_view text, std::span<const Unit> units) {
  double number = 0;
  std::string_view unit;
  if (split(text, number, unit)) {
    for (const Unit& u : units) {
      if (u.name == unit && std::isfinite(number * u.factor))
        return Q::in_base_units(number * u.factor);
    }
  }
  return invalid(fmt::format("expected {}, found \"{}\"", expected_text<Q>(), text.substr(0, 60)));
}

constexpr Unit kSeconds[] = {{"s", 1},     {"ms", 1e-3}, {"us", 1e-6}, {"µs", 1e-6},
                             {"ns", 1e-9}, {"min", 60},  {"h", 3600},  {"d", 86400}};
constexpr Unit kBytes[] = {{"B", 1},
                           {"KB", 1e3},
                           {"kB", 1e3},
                           {"MB", 1e6},
                           {"GB", 1e9},
                           {"TB", 1e12},
                           {"KiB", 1024},
                           {"MiB", 1048576.0},
                           {"GiB", 1073741824.0},
                           {"TiB", 1099511627776.0}};
constexpr Unit kBandwidth[] = {{"B/s", 1},           {"KB/s", 1e3},           {"MB/s", 1e6},
                               {"GB/s", 1e9},        {"TB/s", 1e12},          {"KiB/s", 1024},
                               {"MiB/s", 1048576.0}, {"GiB/s", 1073741824.0}, {"Mb/s", 1e6 / 8},
                               {"Gb/s", 1e9 / 8},    {"Tb/s", 1e12 / 8},      {"Mbit/s", 1e6 / 8},
                               {"Gbit/s", 1e9 / 8},  {"Tbit/s", 1e12 / 8}};
constexpr Unit kFlopRate[] = {{"FLOP/s", 1},     {"GFLOP/s", 1e9}, {"TFLOP/s", 1e12},
                              {"PFLOP/s", 1e15}, {"TOP/s", 1e12},  {"POP/s", 1e15},
                              {"TFLOPS", 1e12},  {"TOPS", 1e12}};
constexpr Unit kFrequency[] = {{"Hz", 1}, {"MHz", 1e6}, {"GHz", 1e9}};
constexpr Unit kWatts[] = {{"W", 1}, {"kW", 1e3}, {"MW", 1e6}};
constexpr Unit kArea[] = {{"mm2", 1}, {"mm^2", 1}};
constexpr Unit kDollars[] = {{"USD", 1}, {"$", 1},   {"KUSD", 1e3}, {"MUSD", 1e6},
                             {"K", 1e3}, {"M", 1e6}, {"B", 1e9},    {"", 1}};
constexpr Unit kPrice[] = {
    {"USD/h", 1.0 / 3600},   {"$/h", 1.0 / 3600},    {"/h", 1.0 / 3600}, {"USD/GPU-h", 1.0 / 3600},
    {"$/GPU-h", 1.0 / 3600}, {"/GPU-h", 1.0 / 3600}, {"", 1.0 / 3600}};

std::string_view without_dollar(std::string_view text) {
  text = trim(text);
  if (text.starts_with("$")) text.remove_prefix(1);
  return text;
}

}  // namespace

template <>
std::string_view expected_text<Seconds>() {
  return "a time such as \"3.7 us\"";
}
template <>
std::string_view expected_text<Bytes>() {
  return "a size such as \"80 GiB\"";
}
template <>
std::string_view expected_text<Bandwidth>() {
  return "a bandwidth such as \"3.35 TB/s\"";
}
template <>
std::string_view expected_text<FlopRate>() {
  return "a rate such as \"989.4 TFLOP/s\"";
}
template <>
std::string_view expected_text<Frequency>() {
  return "a frequency such as \"1830 MHz\"";
}
template <>
std::string_view expected_text<Watts>() {
  return "a power such as \"700 W\"";
}
template <>
std::string_view expected_text<Area>() {
  return "an area such as \"814 mm2\"";
}
template <>
std::string_view expected_text<Dollars>() {
  return "an amount such as \"270000 USD\"";
}
template <>
std::string_view expected_text<PricePerTime>() {
  return "a price such as \"2 USD/h\"";
}

Result<Seconds> parse_seconds(std::string_view text) { return parse_with<Seconds>(text, kSeconds); }
Result<Bytes> parse_bytes(std::string_view text) { return parse_with<Bytes>(text, kBytes); }
Result<Bandwidth> parse_bandwidth(std::string_view text) {
  return parse_with<Bandwidth>(text, kBandwidth);
}
Result<FlopRate> parse_flop_rate(std::string_view text) {
  return parse_with<FlopRate>(text, kFlopRate);
}
Result<Frequency> parse_frequency(std::string_view text) {
  return parse_with<Frequency>(text, kFrequency);
}
Result<Watts> parse_watts(std::string_view text) { return parse_with<Watts>(text, kWatts); }
Result<Area> parse_area(std::string_view text) { return parse_with<Area>(text, kArea); }
Result<Dollars> parse_dollars(std::string_view text) {
  return parse_with<Dollars>(without_dollar(text), kDollars);
}
Result<PricePerTime> parse_price(std::string_view text) {
  return parse_with<PricePerTime>(without_dollar(text), kPrice);
}

template <>
Result<Seconds> parse_quantity(std::string_view text) {
  return parse_seconds(text);
}
template <>
Result<Bytes> parse_quantity(std::string_view text) {
  return parse_bytes(text);
}
template <>
Result<Bandwidth> parse_quantity(std::string_view text) {
  return parse_bandwidth(text);
}
template <>
Result<FlopRate> parse_quantity(std::string_view text) {
  return parse_flop_rate(text);
}
template <>
Result<Frequency> parse_quantity(std::string_view text) {
  return parse_frequency(text);
}
template <>
Result<Watts> parse_quantity(std::string_view text) {
  return parse_watts(text);
}
template <>
Result<Area> parse_quantity(std::string_view text) {
  return parse_area(text);
}
template <>
Result<Dollars> parse_quantity(std::string_view text) {
  return parse_dollars(text);
}
template <>
Result<PricePerTime> parse_quantity(std::string_view text) {
  return parse_price(text);
}

Result<double> parse_number(std::string_view text) {
  double number = 0;
  std::string_view rest;
  if (!split(text, number, rest) || !rest.empty()) {
    return invalid(fmt::format("expected a number, found \"{}\"", text.substr(0, 60)));
  }
  return number;
}

Result<std::int64_t> parse_count(std::string_view text, bool binary_k) {
  constexpr Unit kDecimal[] = {{"", 1},           {"K", 1e3},           {"k", 1e3},
                               {"M", 1e6},        {"G", 1e9},           {"B", 1e9},
                               {"T", 1e12},       {"P", 1e15},          {"Ki", 1024},
                               {"Mi", 1048576.0}, {"Gi", 1073741824.0}, {"Ti", 1099511627776.0}};
  constexpr Unit kBinary[] = {{"", 1},          {"K", 1024},  {"k", 1024},
                              {"M", 1048576.0}, {"Ki", 1024}, {"Mi", 1048576.0}};
  double number = 0;
  std::string_view suffix;
  if (split(text, number, suffix)) {
    const std::span<const Unit> units =
        binary_k ? std::span<const Unit>(kBinary) : std::span<const Unit>(kDecimal);
    for (const Unit& unit : units) {
      if (unit.name != suffix) continue;
      const double value = number * unit.factor;
      // 14.8e12 and the like are whole up to the rounding of one product.
      const double whole = std::floor(value + 0.5);
      if (value >= 1 && whole <= 9e15 && std::abs(value - whole) <= 1e-9 * value)
        return static_cast<std::int64_t>(whole);
    }
  }
  return invalid(fmt::format("expected a positive whole number such as {}, found \"{}\"",
                             binary_k ? "4096 or 4K" : "1000 or 14.8T", text.substr(0, 60)));
}

std::string closest(std::string_view word, const std::vector<std::string>& known) {
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  std::string answer;
  if (word.size() > 80) return answer;
  for (const std::string& candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t substitution = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({substitution, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < best) {
      best = row.back();
      answer = candidate;
    }
  }
  return answer;
}

std::string with_commas(std::int64_t n) {
  const bool negative = n < 0;
  std::string digits = fmt::format("{}", negative ? -n : n);
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return negative ? "-" + digits : digits;
}

std::string short_count(double n) {
  constexpr Unit kSuffixes[] = {{"T", 1e12}, {"B", 1e9}, {"M", 1e6}, {"K", 1e3}};
  for (const Unit& suffix : kSuffixes) {
    if (n >= suffix.factor) return fmt::format("{:.3g}{}", n / suffix.factor, suffix.name);
  }
  return fmt::format("{:.3g}", n);
}

}  // namespace narrows

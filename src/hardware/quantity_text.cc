// SPDX-License-Identifier: Apache-2.0
#include "hardware/quantity_text.h"

#include <fmt/format.h>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <string_view>

#include "base/text.h"

namespace narrows {
namespace {

template <typename Q>
struct Unit {
  std::string_view name;
  Q size;
};

// The shortest text among the units that reads back to the same value; of equals, the first.
template <typename Q>
std::string shortest(Q value, std::initializer_list<Unit<Q>> units) {
  std::string best;
  for (const Unit<Q>& unit : units) {
    const double number = value / unit.size;
    const double above = std::nextafter(number, std::numeric_limits<double>::infinity());
    for (const double candidate : {number, above, std::nextafter(number, 0.0)}) {
      for (const std::string& digits :
           {fmt::format("{:.15g}", candidate), fmt::format("{}", candidate)}) {
        const std::string text = fmt::format("{} {}", digits, unit.name);
        const Result<Q> read = parse_quantity<Q>(text);
        if (read && *read == value && (best.empty() || text.size() < best.size())) best = text;
      }
    }
  }
  if (!best.empty()) return best;
  const Unit<Q>& last = *(units.end() - 1);
  return fmt::format("{} {}", value / last.size, last.name);
}

}  // namespace

std::string exact_text(Bytes size) {
  return shortest<Bytes>(
      size, {{"TB", TB}, {"GB", GB}, {"GiB", GiB}, {"MB", MB}, {"KB", KB}, {"B", byte}});
}
std::string exact_text(Bandwidth rate) {
  return shortest<Bandwidth>(
      rate, {{"GB/s", GB / sec}, {"TB/s", TB / sec}, {"MB/s", MB / sec}, {"B/s", byte / sec}});
}
std::string exact_text(FlopRate rate) {
  return shortest<FlopRate>(
      rate, {{"TFLOP/s", TFLOP / sec}, {"GFLOP/s", GFLOP / sec}, {"FLOP/s", flop / sec}});
}
std::string exact_text(Frequency rate) {
  return shortest<Frequency>(rate, {{"MHz", MHz}, {"Hz", 1 / sec}});
}
std::string exact_text(Seconds time) {
  return shortest<Seconds>(time, {{"us", us}, {"ms", ms}, {"s", sec}});
}
std::string exact_text(Watts power) {
  return shortest<Watts>(power, {{"W", watt}, {"kW", 1e3 * watt}});
}
std::string exact_text(Area area) { return shortest<Area>(area, {{"mm2", mm2}}); }
std::string exact_text(Dollars amount) { return shortest<Dollars>(amount, {{"USD", usd}}); }
std::string exact_text(PricePerTime price) {
  return shortest<PricePerTime>(price, {{"USD/h", usd / hour}});
}

}  // namespace narrows

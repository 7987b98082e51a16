// SPDX-License-Identifier: Apache-2.0
#include "software/figures.h"

#include <fmt/format.h>

#include <limits>
#include <string>
#include <type_traits>

#include "base/result.h"
#include "software/profile_fields.h"

namespace narrows {
namespace {

struct Finder {
  std::string_view wanted;
  std::optional<double> found;

  template <typename T, typename... Limits>
  void operator()(const char* name, const T& value, Limits...) {
    if constexpr (std::is_same_v<T, double> || std::is_same_v<T, Seconds> ||
                  std::is_same_v<T, Bytes>) {
      if (wanted == name) found = si(value);
    }
  }
};

struct Limiter {
  std::string_view wanted;
  FitBounds limits;

  void operator()(const char* name, const double&, double least, double most) {
    if (wanted == name) limits = {least, most};
  }
  template <typename T, typename... Limits>
  void operator()(const char*, const T&, Limits...) {}
};

struct Setter {
  std::string_view wanted;
  double value;

  template <typename T, typename... Limits>
  void operator()(const char* name, T& field, Limits...) {
    if (wanted != name) return;
    if constexpr (std::is_same_v<T, double>) field = value;
    if constexpr (std::is_same_v<T, Seconds>) field = value * sec;
    if constexpr (std::is_same_v<T, Bytes>) field = value * byte;
  }
};

// Four digits, in the unit that people would use.
struct Rounder {
  std::string_view wanted;
  double value;
  Json json;

  template <typename T, typename... Limits>
  void operator()(const char* name, const T&, Limits...) {
    if (wanted != name) return;
    if constexpr (std::is_same_v<T, double>) {
      json = Json(std::stod(fmt::format("{:.4g}", value)));
    } else if constexpr (std::is_same_v<T, Seconds>) {
      const bool large = value >= 0.1, tiny = value < 1e-3;
      json = Json(large  ? fmt::format("{:.4g} s", value)
                  : tiny ? fmt::format("{:.4g} us", value * 1e6)
                         : fmt::format("{:.4g} ms", value * 1e3));
    } else if constexpr (std::is_same_v<T, Bytes>) {
      json = Json(fmt::format("{:.4g} MB", value / 1e6));
    }
  }
};

}  // namespace

std::optional<double> figure_of(const SoftwareProfile& profile, std::string_view field) {
  Finder finder{field, std::nullopt};
  each_field(profile, finder);
  return finder.found;
}

FitBounds limits_of(std::string_view field) {
  Limiter limiter{field, {0, std::numeric_limits<double>::max()}};
  const SoftwareProfile any;
  each_field(any, limiter);
  return limiter.limits;
}

void set_figure(SoftwareProfile& profile, std::string_view field, double value) {
  ASSERT(figure_of(profile, field).has_value());
  Setter setter{field, value};
  each_field(profile, setter);
}

Json rounded_figure(std::string_view field, double value) {
  Rounder rounder{field, value, {}};
  const SoftwareProfile any;
  each_field(any, rounder);
  return rounder.json;
}

}  // namespace narrows

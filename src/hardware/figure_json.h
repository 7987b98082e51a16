// Figures in JSON: {"value": "3.35 TB/s", "source": "S-STAS-ACC", "mark": "from-memory", "note":
// "..."}. A figure without a source is refused, and so is a value of zero where only a positive one
// makes sense.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "hardware/chip.h"
#include "hardware/quantity_text.h"

namespace narrows {

// `Q` is a quantity with a unit.
template <typename Q>
Result<Figure<Q>> read_figure(JsonObject& parent, std::string_view key, bool zero_allowed = false);
template <typename Q>
Result<std::optional<Figure<Q>>> read_optional_figure(JsonObject& parent, std::string_view key) {
  if (!parent.has(key)) return std::optional<Figure<Q>>();
  return std::optional<Figure<Q>>(TRY(read_figure<Q>(parent, key)));
}

// A plain number above zero.
Result<Figure<double>> read_number_figure(JsonObject& parent, std::string_view key);
// "2023", "2023-03" or "2023-03-21".
Result<Figure<std::string>> read_date_figure(JsonObject& parent, std::string_view key);
bool is_date(std::string_view text);

// A name of a profile: lower-case letters, digits and dashes; `counted` also allows the colon of
// "h100:64".
Result<std::string> read_name(JsonObject& object, std::string_view key, bool counted = false);

// Object with `value` in front of the rest of the figure.
Json figure_json(Json value, const std::string& source, const std::string& mark,
                 const std::string& note);
template <typename Q>
Json to_json(const Figure<Q>& figure) {
  return figure_json(exact_text(figure.value), figure.source, figure.mark, figure.note);
}

}  // namespace narrows

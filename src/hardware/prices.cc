// SPDX-License-Identifier: Apache-2.0
#include "hardware/prices.h"

#include <fmt/format.h>

#include "hardware/figure_json.h"

namespace narrows {
namespace {

Result<std::string> one_of(JsonObject& object, std::string_view key,
                           const std::vector<std::string>& known) {
  const std::string text = TRY(object.string(key));
  for (const std::string& name : known) {
    if (text == name) return text;
  }
  return invalid(fmt::format("{}: expected one of {}, found \"{}\"", object.place(key),
                             fmt::join(known, ", "), text.substr(0, 60)));
}

Result<std::string> date_of(JsonObject& object) {
  const std::string date = TRY(object.string("date"));
  if (is_date(date)) return date;
  return invalid(fmt::format("{}: expected a date such as \"2025-03\", found \"{}\"",
                             object.place("date"), date.substr(0, 60)));
}

Result<Price> read_price(JsonObject& object, const std::string& kind) {
  Price price;
  price.kind = kind;
  price.item = TRY(object.string("item"));
  price.low = TRY(object.number("low", 0, 1e12));
  price.high = TRY(object.number("high", price.low, 1e12));
  price.unit = TRY(one_of(
      object, "unit",
      kind == "rent" ? std::vector<std::string>{"USD/h"} : std::vector<std::string>{"USD", "CNY"}));
  price.from = TRY(object.string_or("from", ""));
  price.date = TRY(date_of(object));
  price.source = TRY(object.string("source"));
  price.note = TRY(object.string_or("note", ""));
  TRY(object.finish());
  return price;
}

}  // namespace

Result<std::vector<Price>> prices_from_json(JsonObject& object) {
  const std::string kind = TRY(one_of(object, "kind", {"rent", "purchase"}));
  std::vector<Price> prices;
  const Json* array = TRY(object.array("prices"));
  for (const Json& item : array->items()) {
    JsonObject entry =
        TRY(JsonObject::of(item, object.file(), fmt::format("prices[{}]", prices.size())));
    prices.push_back(TRY(read_price(entry, kind)));
  }
  TRY(object.finish());
  return prices;
}

Result<OwnershipFigures> ownership_from_json(JsonObject& object) {
  TRY(one_of(object, "kind", {"ownership"}));
  TRY(date_of(object));
  OwnershipFigures figures;
  JsonObject parameters = TRY(object.object("parameters"));
  for (const Json::Member& member : parameters.node().members()) {
    figures[member.first] = TRY(read_number_figure(parameters, member.first));
  }
  TRY(parameters.finish());
  TRY(object.finish());
  return figures;
}

}  // namespace narrows

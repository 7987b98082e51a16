// SPDX-License-Identifier: Apache-2.0
#include "hardware/figure_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace narrows {
namespace {

// What stands beside the value; also refuses other keys.
template <typename T>
Status read_rest(JsonObject& object, Figure<T>& figure) {
  figure.source = TRY(object.string("source"));
  if (figure.source.empty()) {
    return invalid(fmt::format("{}: expected where the figure comes from, found \"\"",
                               object.place("source")));
  }
  figure.mark = TRY(object.string_or("mark", ""));
  figure.note = TRY(object.string_or("note", ""));
  return object.finish();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

template <typename Q>
Result<Figure<Q>> read_figure(JsonObject& parent, std::string_view key, bool zero_allowed) {
  JsonObject object = TRY(parent.object(key));
  Figure<Q> figure;
  figure.value = TRY(object.quantity<Q>("value"));
  if (!zero_allowed && figure.value == Q()) {
    return invalid(fmt::format("{}: expected {} above zero, found {}", object.place("value"),
                               expected_text<Q>(), object.node().find("value")->description()));
  }
  TRY(read_rest(object, figure));
  return figure;
}

template Result<Figure<Seconds>> read_figure(JsonObject&, std::string_view, bool);
template Result<Figure<Bytes>> read_figure(JsonObject&, std::string_view, bool);
template Result<Figure<Bandwidth>> read_figure(JsonObject&, std::string_view, bool);
template Result<Figure<FlopRate>> read_figure(JsonObject&, std::string_view, bool);
template Result<Figure<Frequency>> read_figure(JsonObject&, std::string_view, bool);
template Result<Figure<Watts>> read_figure(JsonObject&, std::string_view, bool);
template Result<Figure<Area>> read_figure(JsonObject&, std::string_view, bool);
template Result<Figure<PricePerTime>> read_figure(JsonObject&, std::string_view, bool);

Result<Figure<double>> read_number_figure(JsonObject& parent, std::string_view key) {
  JsonObject object = TRY(parent.object(key));
  Figure<double> figure;
  figure.value = TRY(object.number("value", 1e-9, 1e15));
  TRY(read_rest(object, figure));
  return figure;
}

bool is_date(std::string_view text) {
  if (text.size() != 4 && text.size() != 7 && text.size() != 10) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 4 || i == 7;
    if (dash ? text[i] != '-' : !is_digit(text[i])) return false;
  }
  const auto two = [&](std::size_t at) { return 10 * (text[at] - '0') + (text[at + 1] - '0'); };
  if (text.size() >= 7 && (two(5) < 1 || two(5) > 12)) return false;
  return text.size() < 10 || (two(8) >= 1 && two(8) <= 31);
}

Result<Figure<std::string>> read_date_figure(JsonObject& parent, std::string_view key) {
  JsonObject object = TRY(parent.object(key));
  Figure<std::string> figure;
  figure.value = TRY(object.string("value"));
  if (!is_date(figure.value)) {
    return invalid(fmt::format("{}: expected a date such as \"2023-03-21\", found \"{}\"",
                               object.place("value"), figure.value));
  }
  TRY(read_rest(object, figure));
  return figure;
}

Result<std::string> read_name(JsonObject& object, std::string_view key, bool counted) {
  const std::string name = TRY(object.string(key));
  const bool fine = !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || (counted && c == ':');
  });
  if (fine) return name;
  return invalid(
      fmt::format("{}: expected a name of lower-case letters, digits and dashes, found \"{}\"",
                  object.place(key), name.substr(0, 60)));
}

Json figure_json(Json value, const std::string& source, const std::string& mark,
                 const std::string& note) {
  Json object = Json::object();
  object.set("value", std::move(value));
  object.set("source", source);
  if (!mark.empty()) object.set("mark", mark);
  if (!note.empty()) object.set("note", note);
  return object;
}

}  // namespace narrows

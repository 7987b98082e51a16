// SPDX-License-Identifier: Apache-2.0
#include "plan/pins.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace narrows {
namespace {

// Calls visit(name, pin, field of the strategy) for every field, in the order of the JSON.
template <typename P, typename Visitor>
void each_pin(P& p, Visitor visit) {
  visit("tp", p.tp, &Strategy::tp);
  visit("pp", p.pp, &Strategy::pp);
  visit("vpp", p.vpp, &Strategy::vpp);
  visit("ep", p.ep, &Strategy::ep);
  visit("etp", p.etp, &Strategy::etp);
  visit("cp", p.cp, &Strategy::cp);
  visit("dp", p.dp, &Strategy::dp);
  visit("dp_shard", p.dp_shard, &Strategy::dp_shard);
  visit("zero", p.zero, &Strategy::zero);
  visit("micro_batch", p.micro_batch, &Strategy::micro_batch);
  visit("micro_batches", p.micro_batches, &Strategy::micro_batches);
  visit("sequence_parallel", p.sequence_parallel, &Strategy::sequence_parallel);
  visit("order", p.order, &Strategy::order);
  visit("schedule", p.schedule, &Strategy::schedule);
  visit("precision", p.precision, &Strategy::precision);
  visit("recompute", p.recompute, &Strategy::recompute);
}

std::vector<std::string> keys() {
  std::vector<std::string> names;
  const Pins none;
  each_pin(none, [&](const char* name, const auto&, auto) { names.emplace_back(name); });
  return names;
}

struct Value {
  std::string_view key;
  std::string_view text;
  Recipe plain_fp8;
};

tl::unexpected<Error> wrong(const Value& value, std::string_view expected) {
  return invalid(fmt::format("{}={}: expected {}", value.key, value.text.substr(0, 60), expected));
}

template <typename T>
Result<T> named(const Value& value, std::string_view what, std::optional<T> found,
                const std::vector<std::string>& known) {
  if (found) return *found;
  const std::string near = closest(value.text, known);
  return wrong(value, near.empty() ? fmt::format("{} (one of {})", what, fmt::join(known, " "))
                                   : fmt::format("{}; did you mean \"{}\"?", what, near));
}

template <typename T>
std::vector<std::string> names_of(const std::vector<T>& values) {
  std::vector<std::string> names;
  for (const T value : values) names.push_back(to_string(value));
  return names;
}

Status read(const Value& value, std::optional<std::int64_t>& pin) {
  const Result<std::int64_t> count = parse_count(value.text);
  if (!count || *count > (std::int64_t{1} << 40)) return wrong(value, "a positive whole number");
  pin = *count;
  return {};
}
Status read(const Value& value, std::optional<int>& pin) {
  if (value.key == "zero") {
    if (value.text.size() != 1 || value.text < "0" || value.text > "3")
      return wrong(value, "0, 1, 2 or 3");
    pin = value.text[0] - '0';
    return {};
  }
  const Result<std::int64_t> count = parse_count(value.text);
  if (!count || *count > (1 << 24)) return wrong(value, "a positive whole number");
  pin = static_cast<int>(*count);
  return {};
}
Status read(const Value& value, std::optional<bool>& pin) {
  if (value.text != "true" && value.text != "false") return wrong(value, "true or false");
  pin = value.text == "true";
  return {};
}
Status read(const Value& value, std::optional<AxisOrder>& pin) {
  pin = TRY(named(value, "an order of the axes", axis_order_of(value.text),
                  names_of(std::vector<AxisOrder>{AxisOrder::TpCpDpPp, AxisOrder::TpCpPpDp})));
  return {};
}
Status read(const Value& value, std::optional<ScheduleKind>& pin) {
  for (const std::string_view unbuilt : {"v-half", "v-min"}) {
    if (value.text == unbuilt) {
      return unsupported(fmt::format("schedule={}: this schedule is not built yet", unbuilt));
    }
  }
  pin = TRY(named(value, "a schedule", schedule_of(value.text), names_of(all_schedules())));
  return {};
}
Status read(const Value& value, std::optional<Recipe>& pin) {
  const Result<Recipe> recipe = parse_recipe(value.text, value.plain_fp8);
  if (!recipe) return tl::unexpected(recipe.error());
  pin = *recipe;
  return {};
}
Status read(const Value& value, std::optional<Recompute>& pin) {
  pin =
      TRY(named(value, "a recompute class", recompute_of(value.text), names_of(all_recomputes())));
  return {};
}

Status read_pin(const Value& value, Pins& pins) {
  bool known = false;
  Status status;
  each_pin(pins, [&](const char* name, auto& pin, auto) {
    if (name != value.key) return;
    known = true;
    if (value.text != "auto") status = read(value, pin);
  });
  if (known) return status;
  const std::string near = closest(value.key, keys());
  return invalid(fmt::format("{}: unknown field of a strategy; {}", value.key.substr(0, 60),
                             near.empty() ? fmt::format("known are {}", fmt::join(keys(), " "))
                                          : fmt::format("did you mean \"{}\"?", near)));
}

std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(std::int64_t value) { return fmt::format("{}", value); }
std::string text_of(int value) { return fmt::format("{}", value); }
template <typename T>
requires std::is_enum_v<T> std::string text_of(T value) { return to_string(value); }

}  // namespace

Recipe plain_fp8_of(std::string_view architecture) {
  return architecture.starts_with("blackwell") ? Recipe::Mxfp8 : Recipe::Fp8Block;
}

Result<Recipe> parse_recipe(std::string_view name, Recipe plain_fp8) {
  if (name == "fp8") return plain_fp8;
  return named(Value{"precision", name, plain_fp8}, "a recipe", recipe_of(name),
               names_of(all_recipes()));
}

Result<Pins> parse_pins(std::string_view text, Recipe plain_fp8) {
  Pins pins;
  std::vector<std::string_view> seen;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return invalid(fmt::format("\"{}\": expected a pin such as tp=8", part.substr(0, 60)));
    }
    const Value value{part.substr(0, equals), part.substr(equals + 1), plain_fp8};
    if (std::find(seen.begin(), seen.end(), value.key) != seen.end()) {
      return invalid(fmt::format("{}: pinned twice", value.key.substr(0, 60)));
    }
    seen.push_back(value.key);
    TRY(read_pin(value, pins));
  }
  return pins;
}

bool agrees(const Strategy& strategy, const Pins& pins) {
  bool all = true;
  each_pin(pins, [&](const char*, const auto& pin, auto field) {
    if (pin && *pin != strategy.*field) all = false;
  });
  return all;
}

Pins pins_of(const Strategy& strategy) {
  Pins pins;
  each_pin(pins, [&](const char*, auto& pin, auto field) { pin = strategy.*field; });
  return pins;
}

std::string to_string(const Pins& pins) {
  std::string text;
  each_pin(pins, [&](const char* name, const auto& pin, auto) {
    if (pin) text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, text_of(*pin));
  });
  return text;
}

}  // namespace narrows

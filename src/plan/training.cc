// SPDX-License-Identifier: Apache-2.0
#include "plan/training.h"

#include <fmt/format.h>

namespace narrows {

std::string to_string(Routing routing) {
  return routing == Routing::Balanced ? "balanced" : "natural";
}

std::optional<Routing> routing_of(std::string_view name) {
  for (const Routing routing : {Routing::Balanced, Routing::Natural}) {
    if (to_string(routing) == name) return routing;
  }
  return std::nullopt;
}

Json to_json(const Training& training) {
  Json json = Json::object();
  json.set("sequence", training.sequence);
  json.set("global_batch", training.global_batch);
  json.set("tokens", training.tokens > 0 ? Json(training.tokens) : Json());
  json.set("routing", to_string(training.routing));
  return json;
}

Result<Training> training_from_json(JsonObject& object) {
  Training training;
  training.sequence = TRY(object.integer("sequence", 1, 1 << 30));
  training.global_batch = TRY(object.integer("global_batch", 1, std::int64_t{1} << 40));
  training.tokens = TRY(object.integer_or("tokens", 1, std::int64_t{1} << 52, 0));
  const std::string routing = TRY(object.string_or("routing", "balanced"));
  const std::optional<Routing> known = routing_of(routing);
  if (!known) {
    return invalid(fmt::format("{}: expected \"balanced\" or \"natural\", found \"{}\"",
                               object.place("routing"), routing.substr(0, 60)));
  }
  training.routing = *known;
  TRY(object.finish());
  return training;
}

}  // namespace narrows

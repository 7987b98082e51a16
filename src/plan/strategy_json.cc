// SPDX-License-Identifier: Apache-2.0
#include "plan/strategy_json.h"

#include <fmt/format.h>

namespace narrows {
namespace {

constexpr std::int64_t kMostRanks = 1 << 24;  // of one axis
constexpr std::int64_t kMostMicroBatches = std::int64_t{1} << 40;

struct CommAxis {
  const char* name;
  std::string CommChoice::*algorithm;
};
constexpr CommAxis kCommAxes[] = {{"tp", &CommChoice::tp},
                                  {"dp", &CommChoice::dp},
                                  {"ep", &CommChoice::ep},
                                  {"cp", &CommChoice::cp},
                                  {"pp", &CommChoice::pp}};

Json comm_json(const CommChoice& comm) {
  Json json = Json::object();
  for (const CommAxis& axis : kCommAxes) {
    Json choice = Json::object();
    if (!(comm.*axis.algorithm).empty()) choice.set("algorithm", comm.*axis.algorithm);
    json.set(axis.name, choice);
  }
  return json;
}

struct IntField {
  const char* name;
  int Strategy::*field;
  int least;
};
constexpr IntField kSizes[] = {
    {"tp", &Strategy::tp, 1},     {"pp", &Strategy::pp, 1},
    {"vpp", &Strategy::vpp, 1},   {"ep", &Strategy::ep, 1},
    {"etp", &Strategy::etp, 1},   {"cp", &Strategy::cp, 1},
    {"dp", &Strategy::dp, 1},     {"dp_shard", &Strategy::dp_shard, 1},
    {"zero", &Strategy::zero, 0}, {"micro_batch", &Strategy::micro_batch, 1}};

// Reads a name of an enumeration; `of` gives nullopt for a stranger.
template <typename T>
Result<T> enumerator(JsonObject& object, const char* key,
                     std::optional<T> (*of)(std::string_view)) {
  const std::string name = TRY(object.string(key));
  const std::optional<T> value = of(name);
  if (!value) {
    return invalid(
        fmt::format("{}: unknown {} \"{}\"", object.place(key), key, name.substr(0, 60)));
  }
  return *value;
}

}  // namespace

Json to_json(const Strategy& strategy, const CommChoice& comm) {
  Json json = Json::object();
  for (const IntField& size : kSizes) json.set(size.name, strategy.*size.field);
  json.set("micro_batches", strategy.micro_batches);
  json.set("sequence_parallel", strategy.sequence_parallel);
  json.set("order", to_string(strategy.order));
  json.set("schedule", to_string(strategy.schedule));
  json.set("precision", to_string(strategy.precision));
  json.set("recompute", to_string(strategy.recompute));
  json.set("comm", comm_json(comm));
  return json;
}

Result<Strategy> strategy_from_json(JsonObject& object) {
  Strategy strategy;
  for (const IntField& size : kSizes) {
    strategy.*size.field = static_cast<int>(TRY(object.integer(size.name, size.least, kMostRanks)));
  }
  strategy.micro_batches = TRY(object.integer("micro_batches", 1, kMostMicroBatches));
  strategy.sequence_parallel = TRY(object.boolean("sequence_parallel"));
  strategy.order = TRY(enumerator(object, "order", &axis_order_of));
  strategy.schedule = TRY(enumerator(object, "schedule", &schedule_of));
  strategy.precision = TRY(enumerator(object, "precision", &recipe_of));
  strategy.recompute = TRY(enumerator(object, "recompute", &recompute_of));
  object.skip("comm");
  return strategy;
}

Result<CommChoice> comm_from_json(JsonObject& strategy_object) {
  CommChoice comm;
  if (!strategy_object.has("comm")) return comm;
  JsonObject axes = TRY(strategy_object.object("comm"));
  for (const CommAxis& axis : kCommAxes) {
    if (!axes.has(axis.name)) continue;
    JsonObject choice = TRY(axes.object(axis.name));
    comm.*axis.algorithm = TRY(choice.string_or("algorithm", ""));
    TRY(choice.finish());
  }
  TRY(axes.finish());
  return comm;
}

}  // namespace narrows

// The plan file.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>

#include "base/file.h"
#include "hardware/cluster_json.h"
#include "model/spec_json.h"
#include "plan/plan.h"
#include "plan/strategy_json.h"
#include "software/profile_json.h"

namespace narrows {
namespace {

Json chunk_json(const Chunk& chunk) {
  Json json = Json::object();
  Json items = Json::array();
  items.push(chunk.first);
  items.push(chunk.last);
  json.set("items", std::move(items));
  json.set("recompute", to_string(chunk.recompute));
  return json;
}

Json stage_json(const Stage& stage, int rank) {
  Json json = Json::object();
  json.set("rank", rank);
  Json chunks = Json::array();
  for (const Chunk& chunk : stage.chunks) chunks.push(chunk_json(chunk));
  json.set("chunks", std::move(chunks));
  const double peak = stage.memory_peak / byte;
  const bool whole = std::floor(peak) == peak && peak < 0x1p53;
  if (peak > 0) {
    json.set("memory_peak_bytes", whole ? Json(static_cast<std::int64_t>(peak)) : Json(peak));
  } else {
    json.set("memory_peak_bytes", Json());
  }
  return json;
}

Result<Chunk> read_chunk(JsonObject object) {
  const Json* items = TRY(object.array("items"));
  const std::vector<Json>& ends = items->items();
  for (const Json& end : ends) {
    if (end.kind() != Json::Kind::Integer || end.integer() < 0 || end.integer() > 1'000'000) {
      return invalid(fmt::format("{}: expected [first, last], found {}", object.place("items"),
                                 end.description()));
    }
  }
  if (ends.size() != 2) {
    return invalid(fmt::format("{}: expected [first, last], found {} entries",
                               object.place("items"), ends.size()));
  }
  const std::string name = TRY(object.string("recompute"));
  const std::optional<Recompute> recompute = recompute_of(name);
  if (!recompute) {
    return invalid(
        fmt::format("{}: unknown recompute \"{}\"", object.place("recompute"), name.substr(0, 60)));
  }
  TRY(object.finish());
  return Chunk{static_cast<int>(ends[0].integer()), static_cast<int>(ends[1].integer()),
               *recompute};
}

Result<Stage> read_stage(JsonObject object, const std::string& path, int rank) {
  TRY(object.integer("rank", rank, rank));
  Stage stage;
  const Json* chunks = TRY(object.array("chunks"));
  for (const Json& node : chunks->items()) {
    const std::string chunk_path = fmt::format("{}.chunks[{}]", path, stage.chunks.size());
    const JsonObject chunk = TRY(JsonObject::of(node, object.file(), chunk_path));
    stage.chunks.push_back(TRY(read_chunk(chunk)));
  }
  stage.memory_peak = TRY(object.number_or("memory_peak_bytes", 0, 1e300, 0)) * byte;
  TRY(object.finish());
  return stage;
}

Result<std::vector<Stage>> read_stages(JsonObject& plan) {
  const Json* list = TRY(plan.array("stages"));
  std::vector<Stage> stages;
  for (const Json& node : list->items()) {
    const std::string path = fmt::format("stages[{}]", stages.size());
    const int rank = static_cast<int>(stages.size());
    const JsonObject stage = TRY(JsonObject::of(node, plan.file(), path));
    stages.push_back(TRY(read_stage(stage, path, rank)));
  }
  return stages;
}

Status read_strategy(JsonObject& object, Plan& plan) {
  JsonObject strategy = TRY(object.object("strategy"));
  plan.strategy = TRY(strategy_from_json(strategy));
  plan.comm = TRY(comm_from_json(strategy));
  return strategy.finish();
}

}  // namespace

Json stages_json(const Plan& plan) {
  Json stages = Json::array();
  int rank = 0;
  for (const Stage& stage : plan.stages) stages.push(stage_json(stage, rank++));
  return stages;
}

Json to_json(const Plan& plan) {
  Json json = Json::object();
  json.set("version", plan.version);
  json.set("model", to_json(plan.model));
  json.set("cluster", to_json(plan.cluster));
  json.set("software", to_json(plan.software));
  json.set("training", to_json(plan.training));
  json.set("strategy", to_json(plan.strategy, plan.comm));
  json.set("stages", stages_json(plan));
  json.set("forecast", plan.forecast ? to_json(*plan.forecast) : Json());
  return json;
}

Result<Plan> plan_from_json(const Json& root, const std::string& file) {
  JsonObject object = TRY(JsonObject::of(root, file));
  if (object.has("model_type") && !object.has("version"))
    return invalid(
        fmt::format("{}: expected a plan, found a model: `narrows plan --model {} "
                    "--cluster C --out plan.json` makes one",
                    file, file));
  Plan plan;
  plan.version = static_cast<int>(TRY(object.integer("version", 1, 1'000'000)));
  if (plan.version != kPlanVersion) {
    return invalid(fmt::format("{}: this program reads plans of version {}, found {}",
                               object.place("version"), kPlanVersion, plan.version));
  }
  JsonObject model = TRY(object.object("model"));
  plan.model = TRY(model_from_json(model));
  JsonObject cluster = TRY(object.object("cluster"));
  plan.cluster = TRY(cluster_from_json(cluster));
  JsonObject software = TRY(object.object("software"));
  plan.software = TRY(software_from_json(software));
  JsonObject training = TRY(object.object("training"));
  plan.training = TRY(training_from_json(training));
  TRY(read_strategy(object, plan));
  plan.stages = TRY(read_stages(object));
  if (object.has("forecast")) {
    JsonObject forecast = TRY(object.object("forecast"));
    plan.forecast = TRY(forecast_from_json(forecast));
  }
  TRY(object.finish());
  const Status valid = validate(plan);
  if (!valid) return tl::unexpected(valid.error().within(file));
  return plan;
}

Result<Plan> parse_plan(std::string_view text, const std::string& file) {
  const Json root = TRY(parse_json(text, file));
  return plan_from_json(root, file);
}

Result<Plan> read_plan(const std::string& path) {
  const std::string text = TRY(read_file(path));
  return parse_plan(text, path == "-" ? "stdin" : path);
}

std::string text_of(const Plan& plan) { return to_json(plan).text() + "\n"; }

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "plan/strategy_json.h"
#include "report/plan_view.h"

namespace narrows {
namespace {

std::int64_t whole(Bytes bytes) { return static_cast<std::int64_t>(bytes / byte); }

Json texts(const std::vector<std::string>& lines) {
  Json array = Json::array();
  for (const std::string& line : lines) array.push(line);
  return array;
}

Json to_json(const Alternative& alternative, Seconds best) {
  Json object = Json::object();
  object.set("strategy", narrows::to_json(alternative.strategy));
  object.set("step_seconds", alternative.step / sec);
  object.set("slower", alternative.step / best - 1);
  object.set("memory_peak_bytes", whole(alternative.memory_peak));
  object.set("difference", alternative.difference);
  return object;
}

Json to_json(const SearchSummary& search, Seconds best) {
  Json object = Json::object();
  object.set("space", search.space);
  object.set("evaluated", search.evaluated);
  object.set("feasible", search.feasible);
  object.set("simulated", search.simulated);
  object.set("complete", search.complete);
  object.set("seconds", search.wall / sec);
  object.set("lower_bound_seconds", search.lower_bound / sec);
  object.set("gap", search.gap);
  Json alternatives = Json::array();
  for (const Alternative& a : search.alternatives) alternatives.push(to_json(a, best));
  object.set("alternatives", std::move(alternatives));
  return object;
}

// Which job it is: names only; the plan file holds them in full.
void set_job(Json& root, const Plan& plan) {
  root.set("model", plan.model.name);
  root.set("cluster", plan.cluster.name);
  root.set("chip", plan.cluster.chip.name);
  root.set("gpus", plan.cluster.gpus);
  root.set("training", narrows::to_json(plan.training));
}

}  // namespace

Json to_json(const PlanView& view) {
  const Plan& plan = view.plan;
  const Forecast& forecast = *plan.forecast;
  Json root = Json::object();
  root.set("strategy", to_json(plan.strategy, plan.comm));
  root.set("software", plan.software.name);
  root.set("stages", stages_json(plan));
  root.set("forecast", to_json(forecast));
  root.set("search", view.search ? to_json(*view.search, forecast.step) : Json());
  root.set("basis", to_json(forecast.basis));
  root.set("nearest_runs", to_json(view.nearest_runs));
  root.set("assumed", texts(view.assumed));
  root.set("reasons", texts(view.reasons));
  root.set("price_usd_per_gpu_hour",
           view.price > PricePerTime() ? Json(view.price / (usd / hour)) : Json());
  set_job(root, plan);
  return root;
}

Json to_json(const InfeasibleView& view) {
  Json object = Json::object();
  object.set("rank", view.rank);
  object.set("needed_bytes", whole(total(view.needed)));
  object.set("available_bytes", whole(view.available));
  object.set("needed", to_json(view.needed));
  object.set("strategy", to_json(view.plan.strategy));
  Json root = Json::object();
  root.set("infeasible", std::move(object));
  root.set("software", view.plan.software.name);
  root.set("search", view.search ? to_json(*view.search, 1 * sec) : Json());
  root.set("assumed", texts(view.assumed));
  set_job(root, view.plan);
  return root;
}

}  // namespace narrows

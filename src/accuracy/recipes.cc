// SPDX-License-Identifier: Apache-2.0
#include "accuracy/recipes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/embedded.h"
#include "software/profile_json.h"

namespace narrows {
namespace embedded {
std::vector<EmbeddedFile> validation_recipes();
}  // namespace embedded
namespace {

Result<std::vector<std::string>> names(JsonObject& object, std::string_view key) {
  std::vector<std::string> all;
  if (!object.has(key)) return all;
  const Json* list = TRY(object.array(key));
  for (const Json& item : list->items()) {
    if (!item.is_string()) {
      return invalid(
          fmt::format("{}: expected strings, found {}", object.place(key), item.description()));
    }
    all.push_back(item.string());
  }
  return all;
}

constexpr std::int64_t kMost = 1 << 20;

Result<std::optional<int>> maybe(JsonObject& object, std::string_view key) {
  if (!object.has(key)) return std::optional<int>();
  return std::optional<int>(static_cast<int>(TRY(object.integer(key, 1, kMost))));
}

Status read_layout(JsonObject& object, RecipeRule& rule) {
  rule.tp = TRY(maybe(object, "tp"));
  rule.pp = TRY(maybe(object, "pp"));
  rule.cp = TRY(maybe(object, "cp"));
  rule.micro_batch = TRY(maybe(object, "micro_batch"));
  rule.vpp = TRY(maybe(object, "vpp"));
  rule.etp = TRY(maybe(object, "etp"));
  rule.shard = TRY(maybe(object, "shard"));
  rule.zero = TRY(maybe(object, "zero"));
  rule.packed = TRY(maybe(object, "packed"));
  rule.routing = TRY(object.string_or("routed", ""));
  rule.recompute = TRY(object.string_or("recompute", ""));
  rule.like = TRY(object.string_or("like", ""));
  return {};
}

Result<RecipeRule> rule_of(JsonObject object) {
  RecipeRule rule;
  rule.stacks = TRY(names(object, "stack"));
  rule.models = TRY(names(object, "models"));
  rule.chips = TRY(names(object, "chips"));
  rule.recipes = TRY(names(object, "recipes"));
  rule.tasks = TRY(names(object, "tasks"));
  rule.gpus_from = TRY(maybe(object, "gpus_from"));
  rule.routings = TRY(names(object, "routing"));
  rule.from = TRY(object.string_or("from", ""));
  rule.until = TRY(object.string_or("until", ""));
  if (object.has("moe")) rule.moe = TRY(object.boolean("moe"));
  rule.figures = Json::object();
  if (object.has("set")) {
    const JsonObject set = TRY(object.object("set"));
    rule.figures = set.node();
  }
  TRY(read_layout(object, rule));
  rule.source = TRY(object.string("source"));
  TRY(object.finish());
  return rule;
}

bool among(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Result<std::vector<RecipeRule>> parse_recipe_rules(std::string_view text, const std::string& file) {
  const Json root = TRY(parse_json(text, file));
  JsonObject object = TRY(JsonObject::of(root, file));
  TRY(object.string("title"));
  const Json* list = TRY(object.array("rules"));
  std::vector<RecipeRule> rules;
  for (const Json& item : list->items()) {
    const JsonObject rule = TRY(JsonObject::of(item, file, "rules"));
    rules.push_back(TRY(rule_of(rule)));
  }
  TRY(object.finish());
  return rules;
}

Result<std::vector<RecipeRule>> published_recipe_rules() {
  const EmbeddedFile file = embedded::validation_recipes().front();
  return parse_recipe_rules(file.content, file.path);
}

std::string release_of(const Run& run) {
  if (!run.software_version.empty()) return run.software_version;
  return run.software_date.size() == 7
             ? run.software_date.substr(2, 2) + "." + run.software_date.substr(5, 2)
             : "";
}

bool holds(const RecipeRule& rule, const Run& run) {
  const std::string release = release_of(run);
  if (!among(rule.stacks, run.software) || !among(rule.chips, run.hardware.chip)) return false;
  if (!among(rule.recipes, run.layout.recipe) || !among(rule.tasks, run.task)) return false;
  if (!among(rule.routings, run.routing)) return false;
  if (rule.gpus_from && run.hardware.gpus.value_or(0) < *rule.gpus_from) return false;
  if (!rule.models.empty() && (!run.model || !among(rule.models, run.model->name))) return false;
  if (rule.moe && (!run.model || run.model->moe.has_value() != *rule.moe)) return false;
  if (!rule.from.empty() && (release.empty() || release < rule.from)) return false;
  return rule.until.empty() || (!release.empty() && release <= rule.until);
}

Result<SoftwareProfile> with_recipes(const SoftwareProfile& software, const Run& run,
                                     const std::vector<RecipeRule>& rules) {
  Json json;
  for (const RecipeRule& rule : rules) {
    if (!holds(rule, run) || rule.figures.members().empty()) continue;
    if (json.is_null()) json = to_json(software);
    for (const auto& [field, value] : rule.figures.members()) {
      Json figure = Json::object();
      figure.set("value", value);
      figure.set("source", rule.source);
      json.set(field, std::move(figure));
    }
  }
  if (json.is_null()) return software;
  JsonObject object = TRY(JsonObject::of(json, "recipes of " + run.software));
  return software_from_json(object);
}

Run with_published_layout(const Run& run, const std::vector<RecipeRule>& rules) {
  Run made = run;
  for (const RecipeRule& rule : rules) {
    if (!holds(rule, made)) continue;
    if (rule.tp) made.layout.tp = rule.tp;
    if (rule.pp) made.layout.pp = rule.pp;
    if (rule.cp) made.layout.cp = rule.cp;
    if (rule.micro_batch) made.layout.micro_batch = rule.micro_batch;
    if (rule.etp) made.layout.etp = rule.etp;
    if (rule.shard) made.layout.shard = rule.shard;
    if (rule.zero) made.layout.zero = rule.zero;
    if (rule.vpp) {
      made.layout.vpp = rule.vpp;
      made.layout.schedule = *rule.vpp > 1 ? "interleaved" : "1f1b";
    }
    if (!rule.routing.empty() && run.routing.empty()) made.routing = rule.routing;
    if (!rule.recompute.empty() && run.layout.recompute.empty())
      made.layout.recompute = rule.recompute;
  }
  return made;
}

std::string profile_of_recipes(const Run& run, const std::vector<RecipeRule>& rules) {
  std::string profile;
  for (const RecipeRule& rule : rules) {
    if (!rule.like.empty() && holds(rule, run)) profile = rule.like;
  }
  return profile;
}

std::optional<int> packing_of_recipes(const Run& run, const std::vector<RecipeRule>& rules) {
  std::optional<int> packed;
  for (const RecipeRule& rule : rules) {
    if (rule.packed && holds(rule, run)) packed = rule.packed;
  }
  return packed;
}

}  // namespace narrows

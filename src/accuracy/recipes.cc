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

Result<RecipeRule> rule_of(JsonObject object) {
  RecipeRule rule;
  rule.stacks = TRY(names(object, "stack"));
  rule.models = TRY(names(object, "models"));
  rule.chips = TRY(names(object, "chips"));
  rule.recipes = TRY(names(object, "recipes"));
  rule.from = TRY(object.string_or("from", ""));
  rule.until = TRY(object.string_or("until", ""));
  if (object.has("moe")) rule.moe = TRY(object.boolean("moe"));
  rule.figures = Json::object();
  if (object.has("set")) {
    const JsonObject set = TRY(object.object("set"));
    rule.figures = set.node();
  }
  rule.recompute = TRY(object.string_or("recompute", ""));
  rule.source = TRY(object.string("source"));
  TRY(object.finish());
  return rule;
}

bool among(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

// "26.02.01"; where only a month is printed, its first release.
std::string release_of(const Run& run) {
  if (!run.software_version.empty()) return run.software_version;
  return run.software_date.size() == 7
             ? run.software_date.substr(2, 2) + "." + run.software_date.substr(5, 2)
             : "";
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

bool holds(const RecipeRule& rule, const Run& run) {
  const std::string release = release_of(run);
  if (!among(rule.stacks, run.software) || !among(rule.chips, run.hardware.chip)) return false;
  if (!among(rule.recipes, run.layout.recipe)) return false;
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

std::string recompute_of_recipes(const Run& run, const std::vector<RecipeRule>& rules) {
  std::string recompute;
  for (const RecipeRule& rule : rules) {
    if (!rule.recompute.empty() && holds(rule, run)) recompute = rule.recompute;
  }
  return recompute;
}

}  // namespace narrows

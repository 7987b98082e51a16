// What published recipes say that the tables of their results do not: dispatchers, graphs, overlaps
// and recomputation, by stack, release, model and chip (validation/recipes.json). A rule replaces
// figures of the run's software profile; its source stands beside each of them. Rules apply in
// their order. None holds a rate: what a feature is worth is the cost model's business.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "accuracy/run.h"
#include "base/json.h"
#include "base/result.h"
#include "software/profile.h"

namespace narrows {

struct RecipeRule {
  // When it holds. Empty lists hold for all; releases are inclusive, "" = open.
  std::vector<std::string> stacks, models, chips, recipes, tasks, routings;
  std::string from, until;
  std::optional<bool> moe;
  std::optional<int> gpus_from;

  Json figures;           // profile field -> value
  std::string recompute;  // "" = not said
  std::string like;       // the profile whose settings the stack ran with; "" = its own
  std::string routing;    // "token-drop": "" = not said
  std::optional<int> tp, pp, cp, micro_batch, vpp, etp, shard, zero;
  std::optional<int> packed;  // tokens of the samples that share a sequence
  std::string source;
};

// InvalidInput names the line.
Result<std::vector<RecipeRule>> parse_recipe_rules(std::string_view text, const std::string& file);
// Those that the program carries.
Result<std::vector<RecipeRule>> published_recipe_rules();

// "26.02.01"; where only a month is printed, its first release; "" if none is.
std::string release_of(const Run& run);
bool holds(const RecipeRule& rule, const Run& run);

// The profile with the figures of every rule that holds for the run. InvalidInput where a rule
// names no field or a wrong value.
Result<SoftwareProfile> with_recipes(const SoftwareProfile& software, const Run& run,
                                     const std::vector<RecipeRule>& rules);
// The run with the layout that the rules give it: what its table leaves open, and sizes that stand
// there by assumption or by mistake: a table that serves several chips or formats, read for one of
// them (tp, pp, cp, micro_batch, vpp, etp, zero). Printed recomputation and routing stay.
Run with_published_layout(const Run& run, const std::vector<RecipeRule>& rules);
// The profile that the last rule to speak of it names; "" if none does.
std::string profile_of_recipes(const Run& run, const std::vector<RecipeRule>& rules);
// Tokens of packed samples; nothing where no rule speaks of them.
std::optional<int> packing_of_recipes(const Run& run, const std::vector<RecipeRule>& rules);

}  // namespace narrows

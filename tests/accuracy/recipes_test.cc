// SPDX-License-Identifier: Apache-2.0
#include "accuracy/recipes.h"

#include <catch2/catch.hpp>

#include "software/library.h"

namespace narrows {
namespace {

constexpr const char* kRules = R"({"title": "t", "rules": [
  {"stack": ["s"], "models": ["m"], "chips": ["c"], "from": "25.11", "until": "26.02",
    "set": {"dispatcher": "deepep", "overlap_ep": 0.5}, "recompute": "v3", "source": "first"},
  {"stack": ["s"], "moe": false, "from": "26.02", "set": {"overlap_ep": 0}, "source": "second"}]})";

Run run_of(const std::string& version) {
  Run run;
  run.software = "s";
  run.software_version = version;
  run.hardware.chip = "c";
  run.model = ModelSpec{};
  run.model->name = "m";
  return run;
}

std::vector<RecipeRule> rules() { return *parse_recipe_rules(kRules, "x.json"); }

}  // namespace

TEST_CASE("recipes: a rule holds from its first release to its last, for what it names") {
  const RecipeRule first = rules().front();
  CHECK_FALSE(holds(first, run_of("25.09")));
  CHECK(holds(first, run_of("25.11")));
  CHECK(holds(first, run_of("26.02")));
  CHECK_FALSE(holds(first, run_of("26.02.01")));
  CHECK_FALSE(holds(first, run_of("")));
  Run run = run_of("25.11");
  run.model->name = "other";
  CHECK_FALSE(holds(first, run));
  run = run_of("25.11");
  run.hardware.chip = "d";
  CHECK_FALSE(holds(first, run));
  run = run_of("");
  run.software_date = "2025-12";
  CHECK(holds(first, run));
}

TEST_CASE("recipes: later rules win, and each figure bears its rule's source") {
  const SoftwareProfile plain = *find_software("megatron-core");
  const Result<SoftwareProfile> made = with_recipes(plain, run_of("26.02"), rules());
  if (!made) FAIL(made.error().message);
  CHECK(made->dispatcher == Dispatcher::DeepEp);
  CHECK(made->sources.at("dispatcher") == "first");
  CHECK(made->overlap_ep == 0);
  CHECK(made->sources.at("overlap_ep") == "second");
  CHECK(made->launch == plain.launch);
  CHECK(*with_recipes(plain, run_of("24.01"), rules()) == plain);
  CHECK(with_published_layout(run_of("26.02"), rules()).layout.recompute == "v3");
  CHECK(with_published_layout(run_of("26.04"), rules()).layout.recompute.empty());
}

TEST_CASE("recipes: rules complete a layout, and leave printed recomputation as it is") {
  const std::vector<RecipeRule> rules = *parse_recipe_rules(
      R"({"title": "t", "rules": [
  {"stack": ["s"], "micro_batch": 8, "vpp": 3, "etp": 2, "recompute": "full", "source": "layout"},
  {"stack": ["s"], "gpus_from": 512, "shard": 128, "zero": 2, "source": "from 64 nodes on"},
  {"stack": ["s"], "routed": "token-drop", "like": "nemo", "source": "routing"},
  {"stack": ["s"], "routing": ["token-drop"], "tasks": ["sft"], "packed": 200, "source": "both"}]})",
      "x.json");
  Run run = run_of("26.02");
  run.layout.micro_batch = 1;
  const Run made = with_published_layout(run, rules);
  CHECK((made.layout.micro_batch == 8 && made.layout.vpp == 3 && made.layout.etp == 2));
  CHECK(made.layout.schedule == "interleaved");
  CHECK(made.layout.recompute == "full");
  CHECK(made.routing == "token-drop");
  CHECK(profile_of_recipes(made, rules) == "nemo");
  CHECK_FALSE(packing_of_recipes(made, rules).has_value());
  CHECK_FALSE(made.layout.shard.has_value());
  run.hardware.gpus = 512;
  CHECK(with_published_layout(run, rules).layout.shard == 128);
  CHECK(with_published_layout(run, rules).layout.zero == 2);
  run.task = "sft";
  run.layout.recompute = "none";
  CHECK(with_published_layout(run, rules).layout.recompute == "none");
  CHECK(packing_of_recipes(with_published_layout(run, rules), rules) == 200);
}

TEST_CASE("recipes: a rule that names no field, or a wrong value, is refused") {
  std::vector<RecipeRule> wrong = rules();
  wrong.front().figures = Json::object();
  wrong.front().figures.set("no_such_field", 1);
  CHECK_FALSE(with_recipes(*find_software("nemo"), run_of("25.11"), wrong).has_value());
  wrong.front().figures = Json::object();
  wrong.front().figures.set("dispatcher", "pigeon");
  CHECK_FALSE(with_recipes(*find_software("nemo"), run_of("25.11"), wrong).has_value());
}

TEST_CASE("recipes: the published rules read, and each names a source") {
  const Result<std::vector<RecipeRule>> published = published_recipe_rules();
  REQUIRE(published.has_value());
  CHECK(published->size() > 20);
  for (const RecipeRule& rule : *published) CHECK(rule.source.size() > 20);
}

TEST_CASE("recipes: a layout that a table gave for another chip is put right") {
  const std::vector<RecipeRule> put_right = *parse_recipe_rules(
      R"({"title": "t", "rules": [
        {"stack": ["s"], "tp": 8, "pp": 4, "cp": 2, "vpp": 3, "source": "launch script"}]})",
      "x.json");
  Run run = run_of("26.02");
  run.layout.tp = 4;
  const RunLayout layout = with_published_layout(run, put_right).layout;
  CHECK((layout.tp == 8 && layout.pp == 4 && layout.cp == 2 && layout.vpp == 3));
  CHECK(layout.schedule == "interleaved");
}

}  // namespace narrows

// `list` and `show`.
// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"

namespace narrows {

TEST_CASE("list: every kind prints, and every name that it prints can be shown") {
  for (const char* what : {"models", "chips", "software", "schedules", "rules"}) {
    const Json root = json_of(narrows_with({"list", what, "--json"}));
    const Json* rows = root.find(what);
    REQUIRE(rows != nullptr);
    CHECK(rows->items().size() >= 5);
    for (const Json& row : rows->items()) {
      const std::string name = row.members().front().second.string();
      INFO(name);
      CHECK(narrows_with({"show", name}).code == 0);
    }
  }
}

TEST_CASE("show: a name means a model before a cluster before a node before a chip") {
  const auto kind_of = [](const std::string& name) {
    return json_of(narrows_with({"show", name, "--json"})).find("kind")->string();
  };
  CHECK(kind_of("deepseek-v3") == "model");
  CHECK(kind_of("h800-2048") == "cluster");
  CHECK(kind_of("h100:16") == "cluster");
  CHECK(kind_of("b200") == "node");  // also the name of a chip
  CHECK(kind_of("h20-96gb") == "chip");
  CHECK(kind_of("hai-llm") == "software");
  CHECK(kind_of("dualpipe") == "schedule");
  CHECK(kind_of("2023-11-17") == "rule");
}

TEST_CASE("show: the figures that DeepSeek publish of their model") {
  const Json root = json_of(narrows_with({"show", "deepseek-v3", "--json"}));
  const Json* data = root.find("data");
  CHECK(data->find("parameters")->find("total")->number() == Approx(671.03e9).epsilon(1e-4));
  CHECK(data->find("gflop_per_token")->find("deepseek")->number() == Approx(249.81).epsilon(1e-4));
}

TEST_CASE("show: a chip's TPP and what each rule says") {
  const Json root = json_of(narrows_with({"show", "h100-sxm5", "--rules", "--json"}));
  CHECK(root.find("data")->find("tpp")->number() == Approx(15831).epsilon(1e-3));
  CHECK(root.find("data")->find("rules")->items().size() >= 5);
}

TEST_CASE("version: names the dates of its data") {
  const Outcome outcome = narrows_with({"--version"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out.starts_with("narrows "));
  CHECK(outcome.out.find("data up to 20") != std::string::npos);
}

TEST_CASE("help: the program and each command explain themselves on stdout") {
  CHECK(narrows_with({"--help"}).out.find("plan") != std::string::npos);
  const Outcome plan = narrows_with({"plan", "--help"});
  CHECK(plan.code == 0);
  CHECK(plan.out.find("--cluster") != std::string::npos);
}

}  // namespace narrows

// The exact output of small jobs. After a change that is meant, NARROWS_UPDATE_GOLDEN=1 in the
// environment writes the files anew; read the difference before it is committed.
// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "cli/program.h"

namespace narrows {
namespace {

void is_golden(const std::string& name, const std::string& text) {
  const std::string path = in_tests("golden/" + name);
  if (std::getenv("NARROWS_UPDATE_GOLDEN") != nullptr) {
    REQUIRE(write_file(path, text));
    return;
  }
  const Result<std::string> expected = read_file(path);
  REQUIRE(expected);
  CHECK(text == *expected);
}

}  // namespace

TEST_CASE("golden: the screen of a plan") {
  is_golden("plan.txt", narrows_with(small_job({"--tokens", "100B"})).out);
}

TEST_CASE("golden: the JSON of a plan") {
  const Outcome outcome = narrows_with(small_job({"--tokens", "100B", "--json"}));
  std::string text = without_lines(outcome.out, "\"seconds\":");
  is_golden("plan.json.txt", text);
}

TEST_CASE("golden: an infeasible job") {
  is_golden("infeasible.txt", narrows_with({"plan", "--model", "llama-3.1-405b", "--cluster",
                                            "h100:8", "--fix", "pp=8,tp=1"})
                                  .out);
}

TEST_CASE("golden: two clusters side by side") {
  is_golden("compare.txt", narrows_with({"compare", "--model", in_tests("small_model.json"),
                                         "--clusters", "h100:8,h20:8", "--global-batch", "64",
                                         "--precision", "bf16", "--tokens", "100B"})
                               .out);
}

TEST_CASE("golden: a chip with its sources and the export rules") {
  is_golden("show_chip.txt", narrows_with({"show", "h20-96gb", "--rules"}).out);
}

TEST_CASE("golden: a model with what is computed of it") {
  is_golden("show_model.txt", narrows_with({"show", "deepseek-v3"}).out);
}

}  // namespace narrows

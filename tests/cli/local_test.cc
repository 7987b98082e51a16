// The loop on this machine: profile, plan, train and compare, tune. Times are real and small; what
// is checked does not depend on them.
// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "cli/program.h"
#include "measure/machine.h"

namespace narrows {
namespace {

const std::string kModel = std::string(NARROWS_SOURCE_DIR) + "/examples/tiny-moe.json";

std::vector<std::string> words(std::initializer_list<std::string> first,
                               std::initializer_list<std::string> more = {}) {
  std::vector<std::string> all(first);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<std::string> job(const std::string& command, const std::string& db,
                             std::initializer_list<std::string> more = {}) {
  std::vector<std::string> all = {command,          "--model", kModel, "--seq", "64",
                                  "--global-batch", "4",       "--db", db};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// A store with a short profile of two ranks, gone with the program's end.
struct Profiled {
  Scratch db{"loop.db"};
  Outcome outcome;
  Profiled() {
    outcome = narrows_with(job("profile", db.path, {"--ranks", "2", "--budget", "12", "--quiet"}));
  }
  ~Profiled() {
    for (const char* more : {"-wal", "-shm"}) std::remove((db.path + more).c_str());
  }
};

const Profiled& profile() {
  static const Profiled once;
  return once;
}

double number_at(const Json& json, std::initializer_list<const char*> path) {
  const Json* at = &json;
  for (const char* key : path) {
    at = at->find(key);
    REQUIRE(at != nullptr);
  }
  return at->number();
}

// Without a time of its own: one rank's tokens stay where they are, and a sum's gradient too.
bool is_handed_on(const std::string& name) {
  for (const char* free :
       {"dispatch", "combine", "cross-entropy I", "add shared I", "residual add I"}) {
    if (name.find(free) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("local: a profile's measurements price the plan, and its text form does so too") {
  const Profiled& profiled = profile();
  REQUIRE(profiled.outcome.code == 0);
  CHECK(profiled.outcome.out.find("rows into " + profiled.db.path) != std::string::npos);
  const auto plan = [&](const std::string& db) {
    return narrows_with(
        job("plan", db,
            {"--cluster", "local:2", "--routing", "balanced", "--json", "--precision", "f32"}));
  };
  const Outcome from_store = plan(profiled.db.path);
  REQUIRE(from_store.code == 0);
  CHECK(from_store.err.find("software narrows: the cluster's own") != std::string::npos);
  const Json planned = json_of(from_store);
  CHECK(number_at(planned, {"basis", "roofline"}) < 0.5);
  // The same measurements, the same plan.
  CHECK(without_lines(plan(profiled.db.path).out, "seconds\"") ==
        without_lines(from_store.out, "seconds\""));

  const Scratch text("loop.csv");
  REQUIRE(narrows_with(job("profile", profiled.db.path,
                           {"--ranks", "2", "--budget", "0.1", "--quiet", "--export", text.path}))
              .code == 0);
  const Outcome from_text = plan(text.path);
  REQUIRE(from_text.code == 0);
  CHECK(number_at(json_of(from_text), {"forecast", "step_seconds"}) > 0);
}

TEST_CASE("local: a plan is trained and compared with its forecast, both timelines in one trace") {
  const Profiled& profiled = profile();
  const Scratch plan("loop_plan.json"), trace("loop_trace.json");
  REQUIRE(narrows_with(job("plan", profiled.db.path,
                           {"--cluster", "local:2", "--routing", "balanced", "--fix", "pp=2",
                            "--out", plan.path, "--quiet"}))
              .code == 0);
  const std::vector<std::string> train =
      words({"train", plan.path, "--data", "portable:1", "--steps", "3", "--compare", "--db",
             profiled.db.path, "--trace", trace.path});
  const Outcome outcome = narrows_with(train);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  for (const char* part : {"step", "phases", "compute", "bubble", "instructions", "F", "ops"})
    CHECK(outcome.out.find(part) != std::string::npos);
  const std::string traced = *read_file(trace.path);
  for (const char* part : {"predicted, pipeline rank 0", "predicted, pipeline rank 1",
                           "measured, pipeline rank 0", "measured, pipeline rank 1"})
    CHECK(traced.find(part) != std::string::npos);

  std::vector<std::string> as_json = train;
  as_json.push_back("--json");
  const Json document = json_of(narrows_with(as_json));
  CHECK(number_at(document, {"slowdown"}) > 0);
  CHECK(number_at(document, {"predicted_step_seconds"}) > 0);
  CHECK(number_at(document, {"measured_step_seconds"}) > 0);
  // Every op that ran was forecast, but for what ends the step and carries it.
  int unforeseen = 0, seen = 0;
  for (const Json& op : document.find("ops")->items()) {
    const std::string name = op.find("name")->string();
    seen += name == "moe expert gate_up F" || name == "attention o_proj W" ? 1 : 0;
    const bool is_block = name.starts_with("attention ") || name.starts_with("moe ") ||
                          name.starts_with("ffn ") || name.starts_with("head ");
    if (is_block && !is_handed_on(name) && number_at(op, {"predicted_seconds"}) == 0) {
      UNSCOPED_INFO(name);
      ++unforeseen;
    }
  }
  CHECK(unforeseen == 0);
  CHECK(seen == 2);
}

TEST_CASE("local: tune tries plans and returns the measured best with the regret") {
  const Profiled& profiled = profile();
  const Scratch plan("loop_best.json");
  const Outcome outcome =
      narrows_with(job("tune", profiled.db.path,
                       {"--cluster", "local:2", "--routing", "balanced", "--trials", "2", "--steps",
                        "2", "--json", "--out", plan.path}));
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const Json document = json_of(outcome);
  const std::vector<Json>& trials = document.find("trials")->items();
  REQUIRE(!trials.empty());
  double best = 1e9;
  for (const Json& trial : trials)
    best = std::min(best, number_at(trial, {"measured_step_seconds"}));
  CHECK(number_at(document, {"step_seconds"}) == best);
  const double first = number_at(trials.front(), {"measured_step_seconds"});
  CHECK(number_at(document, {"regret"}) == Approx(first / best - 1));
  CHECK(number_at(document, {"regret"}) >= 0);
  CHECK(narrows_with({"simulate", plan.path, "--db", profiled.db.path}).code == 0);
}

TEST_CASE("local: tune refuses a cluster on which it cannot try a plan") {
  const Outcome outcome =
      narrows_with(words({"tune", "--model", "llama-2-7b", "--cluster", "h100:8"}));
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("--cluster h100:8: trials run on processors") != std::string::npos);
}

TEST_CASE("local: without measurements it times itself, and says so") {
  const Scratch empty("nothing.db");
  setenv("XDG_DATA_HOME", "/nonexistent", 1);
  const Outcome outcome =
      narrows_with({"plan", "--model", kModel, "--seq", "64", "--global-batch", "4", "--cluster",
                    "local:1", "--json", "--precision", "f32"});
  unsetenv("XDG_DATA_HOME");
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(outcome.err.find("two seconds of copies and matmuls") != std::string::npos);
  CHECK(number_at(json_of(outcome), {"basis", "roofline"}) > 0.5);
}

TEST_CASE("local: what is no number of ranks, and a store that is not there, are refused") {
  for (const char* cluster : {"local:0", "local:x", "local:"}) {
    const Outcome outcome = narrows_with({"plan", "--model", kModel, "--cluster", cluster});
    CHECK(outcome.code == 1);
    CHECK(outcome.err.find("expected local:N") != std::string::npos);
  }
  const Outcome missing =
      narrows_with({"plan", "--model", kModel, "--cluster", "local:2", "--db", "there/is/none.db"});
  CHECK(missing.code == 1);
  CHECK(missing.err.find("there/is/none.db") != std::string::npos);
}

TEST_CASE("profile: a GPU that is not there is one sentence, and exit 1") {
  const Scratch db("gpu.db");
  const Outcome links = narrows_with(
      {"profile", "--device", "cuda", "--links", "--db", db.path, "--budget", "1", "--quiet"});
  if (links.code != 0) CHECK(links.err.find("--device cuda: ") != std::string::npos);
  const Outcome none =
      narrows_with({"profile", "--device", "cuda", "--db", db.path, "--budget", "1", "--quiet"});
  if (none.code == 0) return;  // there is one
  CHECK(none.code == 1);
  CHECK(none.err.find("--device cuda: ") != std::string::npos);
  CHECK(none.err.find('\n') == none.err.size() - 1);
  CHECK_FALSE(read_file(db.path, 1));
}

}  // namespace narrows

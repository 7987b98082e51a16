// docs/cli.md's JSON and exit codes, on a small job.
// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"

namespace narrows {
namespace {

const Json& at(const Json& root, std::initializer_list<const char*> path) {
  const Json* node = &root;
  for (const char* key : path) {
    const Json* next = node->is_object() ? node->find(key) : nullptr;
    if (next == nullptr) FAIL("no member " << key);
    node = next;
  }
  return *node;
}

void has_members(const Json& object, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    INFO(name);
    REQUIRE(object.find(name) != nullptr);
  }
}

}  // namespace

TEST_CASE("plan: the JSON holds every field of the contract") {
  const Outcome outcome = narrows_with(small_job({"--json"}));
  REQUIRE(outcome.code == 0);
  const Json root = json_of(outcome);
  has_members(root, {"strategy", "software", "stages", "forecast", "search", "basis",
                     "nearest_runs", "assumed"});
  has_members(at(root, {"strategy"}), {"tp", "pp", "vpp", "ep", "etp", "cp", "dp", "dp_shard",
                                       "zero", "micro_batch", "micro_batches", "sequence_parallel",
                                       "order", "schedule", "precision", "recompute", "comm"});
  has_members(at(root, {"strategy", "comm"}), {"tp", "dp", "ep", "cp", "pp"});
  has_members(at(root, {"forecast"}),
              {"step_seconds", "step_seconds_low", "step_seconds_high", "tokens_per_second_per_gpu",
               "model_tflops_per_gpu", "flops_convention", "mfu", "peak_tflops",
               "memory_peak_bytes", "memory_capacity_bytes", "breakdown", "gpu_hours", "days",
               "cost_usd", "energy_mwh", "goodput"});
  has_members(at(root, {"search"}), {"space", "evaluated", "simulated", "complete", "seconds",
                                     "lower_bound_seconds", "gap", "alternatives"});
  has_members(at(root, {"basis"}), {"measured", "interpolated", "transferred", "roofline"});
  const Json& stages = at(root, {"stages"});
  REQUIRE(static_cast<std::int64_t>(stages.items().size()) ==
          at(root, {"strategy", "pp"}).integer());
  for (const Json& stage : stages.items())
    has_members(stage, {"rank", "chunks", "memory_peak_bytes"});
}

TEST_CASE("plan: without tokens there are no days, hours, dollars or energy") {
  const Json root = json_of(narrows_with(small_job({"--json"})));
  for (const char* name : {"days", "gpu_hours", "cost_usd", "energy_mwh", "goodput"})
    CHECK(at(root, {"forecast", name}).is_null());
  const Json asked = json_of(narrows_with(small_job({"--json", "--tokens", "1B"})));
  for (const char* name : {"days", "gpu_hours", "cost_usd", "energy_mwh"})
    CHECK(at(asked, {"forecast", name}).number() > 0);
}

TEST_CASE("plan: the price multiplies the GPU-hours") {
  const Json root =
      json_of(narrows_with(small_job({"--json", "--tokens", "1B", "--price", "$4/h"})));
  CHECK(at(root, {"forecast", "cost_usd"}).number() ==
        Approx(4 * at(root, {"forecast", "gpu_hours"}).number()));
  CHECK(at(root, {"forecast", "gpu_hours"}).number() ==
        Approx(8 * 24 * at(root, {"forecast", "days"}).number()));
}

TEST_CASE("plan: the parts of the step sum to it, and the proof is complete") {
  const Json root = json_of(narrows_with(small_job({"--json"})));
  double sum = 0;
  for (const auto& [name, part] : at(root, {"forecast", "breakdown"}).members())
    sum += part.number();
  CHECK(sum == Approx(at(root, {"forecast", "step_seconds"}).number()).epsilon(1e-9));
  CHECK(at(root, {"search", "complete"}).boolean());
  CHECK(at(root, {"search", "gap"}).number() == 0);
  CHECK(at(root, {"search", "evaluated"}).integer() == at(root, {"search", "space"}).integer());
}

TEST_CASE("plan: no two alternatives share layout and schedule") {
  const Json root = json_of(narrows_with(small_job({"--json", "--top", "8"})));
  std::vector<std::string> seen;
  const auto key_of = [&](const Json& strategy) {
    std::string key;
    for (const char* name :
         {"tp", "pp", "vpp", "ep", "etp", "cp", "dp", "dp_shard", "order", "schedule"})
      key += at(strategy, {name}).compact() + " ";
    return key;
  };
  seen.push_back(key_of(at(root, {"strategy"})));
  for (const Json& other : at(root, {"search", "alternatives"}).items()) {
    const std::string key = key_of(at(other, {"strategy"}));
    CHECK(std::find(seen.begin(), seen.end(), key) == seen.end());
    seen.push_back(key);
  }
  CHECK(seen.size() > 3);
}

TEST_CASE("plan: pins are kept, and bound the space") {
  const Json root =
      json_of(narrows_with(small_job({"--json", "--fix", "tp=2,pp=2,schedule=1f1b"})));
  CHECK(at(root, {"strategy", "tp"}).integer() == 2);
  CHECK(at(root, {"strategy", "pp"}).integer() == 2);
  CHECK(at(root, {"strategy", "schedule"}).string() == "1f1b");
  const Json free = json_of(narrows_with(small_job({"--json"})));
  CHECK(at(root, {"search", "space"}).integer() < at(free, {"search", "space"}).integer());
  CHECK(at(root, {"forecast", "step_seconds"}).number() >=
        at(free, {"forecast", "step_seconds"}).number());
}

TEST_CASE("plan: the same bytes from one thread and from two") {
  const Outcome one = narrows_with(small_job({"--json", "--threads", "1"}));
  const Outcome two = narrows_with(small_job({"--json", "--threads", "2"}));
  CHECK(without_lines(one.out, "\"seconds\":") == without_lines(two.out, "\"seconds\":"));
  CHECK(narrows_with(small_job({"--threads", "1"})).out ==
        narrows_with(small_job({"--threads", "2"})).out);
}

TEST_CASE("plan: what was assumed stands on stderr, and --quiet silences it") {
  const Outcome said = narrows_with(small_job());
  CHECK(said.err.find("assumed: software megatron-core") != std::string::npos);
  CHECK(said.err.find("assumed: sequence 4,096") != std::string::npos);
  CHECK(narrows_with(small_job({"--quiet"})).err.empty());
  CHECK(narrows_with(small_job({"--quiet"})).out == said.out);
  const Json root = json_of(narrows_with(small_job({"--json"})));
  CHECK(at(root, {"assumed"}).items().size() >= 3);
}

TEST_CASE("plan: what does not fit is an answer, by component and rank") {
  const Outcome outcome = narrows_with(
      {"plan", "--model", "llama-3.1-405b", "--cluster", "h100:8", "--fix", "pp=8,tp=1", "--json"});
  CHECK(outcome.code == 3);
  const Json root = json_of(outcome);
  const Json& infeasible = at(root, {"infeasible"});
  CHECK(at(infeasible, {"needed_bytes"}).integer() > at(infeasible, {"available_bytes"}).integer());
  double sum = 0;
  for (const auto& [name, part] : at(infeasible, {"needed"}).members()) sum += part.number();
  CHECK(sum == Approx(at(infeasible, {"needed_bytes"}).number()).epsilon(1e-6));
  CHECK(at(infeasible, {"rank"}).integer() >= 0);
}

TEST_CASE("plan: Ctrl-C before anything is found ends with 130") {
  const std::atomic<bool> stop{true};
  const Outcome outcome = narrows_with(small_job(), &stop);
  CHECK(outcome.code == 130);
  CHECK(outcome.out.empty());
}

TEST_CASE("plan: --set changes a figure, and refuses what is not there with its place") {
  const double before = at(json_of(narrows_with(small_job({"--json", "--fix", "tp=8"}))),
                           {"forecast", "step_seconds"})
                            .number();
  const double after = at(json_of(narrows_with(small_job({"--json", "--fix", "tp=8", "--set",
                                                          "cluster.levels.0.usable=20GB/s"}))),
                          {"forecast", "step_seconds"})
                           .number();
  CHECK(after > before);
  const Outcome typo = narrows_with(small_job({"--set", "cluster.levels.0.usabel=20GB/s"}));
  CHECK(typo.code == 1);
  CHECK(typo.err.find("did you mean \"usable\"") != std::string::npos);
  const Outcome unit = narrows_with(small_job({"--set", "cluster.levels.0.usable=20W"}));
  CHECK(unit.code == 1);
  CHECK(unit.err.find("levels[0].usable") != std::string::npos);
  CHECK(narrows_with(small_job({"--set", "nonsense"})).code == 2);
}

TEST_CASE("what is not built says so in one sentence") {
  for (const char* name : {"sweep", "recipe", "report", "export"}) {
    const Outcome outcome = narrows_with({name, "--any", "thing"});
    CHECK(outcome.code == 1);
    CHECK(outcome.err == std::string("narrows: ") + name + ": this command is not built yet\n");
  }
  CHECK(narrows_with(small_job({"--db", "x"})).code == 1);
  CHECK(
      narrows_with({"compare", "--model", "llama-3.1-8b", "--clusters", "h100:8", "--spend", "5M"})
          .code == 1);
}

}  // namespace narrows

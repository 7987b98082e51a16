// Plan files: written by `plan`, played by `simulate`, compared by `diff`.
// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"
#include "plan/plan.h"

namespace narrows {

TEST_CASE("simulate: a plan file gives the forecast that stands in it, byte for byte") {
  const Scratch first("a.json"), second("b.json");
  REQUIRE(narrows_with(small_job({"--fix", "pp=2", "--tokens", "1B", "--out", first.path})).code ==
          0);
  REQUIRE(narrows_with({"simulate", first.path, "--out", second.path}).code == 0);
  CHECK(*read_file(first.path) == *read_file(second.path));
  const Json planned =
      json_of(narrows_with(small_job({"--fix", "pp=2", "--tokens", "1B", "--json"})));
  const Json played = json_of(narrows_with({"simulate", first.path, "--json"}));
  CHECK(planned.find("forecast")->text() == played.find("forecast")->text());
  CHECK(planned.find("stages")->text() == played.find("stages")->text());
  CHECK(played.find("search")->is_null());
}

TEST_CASE("simulate: a forecast that was edited does not count") {
  const Scratch file("edited.json");
  REQUIRE(narrows_with(small_job({"--fix", "tp=2", "--out", file.path})).code == 0);
  Result<Plan> plan = read_plan(file.path);
  REQUIRE(plan);
  const Seconds true_step = plan->forecast->step;
  plan->forecast->step = 0.5 * true_step;
  REQUIRE(write_file(file.path, text_of(*plan)));
  const Outcome outcome = narrows_with({"simulate", file.path, "--json"});
  const Json root = json_of(outcome);
  CHECK(root.find("forecast")->find("step_seconds")->number() == Approx(true_step / sec));
  CHECK(narrows_with({"simulate", file.path}).out.find("the plan file states") !=
        std::string::npos);
}

TEST_CASE("simulate: another cluster needs as many GPUs") {
  const Scratch file("moved.json");
  REQUIRE(narrows_with(small_job({"--fix", "tp=2", "--out", file.path})).code == 0);
  const Json there =
      json_of(narrows_with({"simulate", file.path, "--cluster", "a100:8", "--json"}));
  const Json here = json_of(narrows_with({"simulate", file.path, "--json"}));
  CHECK(there.find("forecast")->find("step_seconds")->number() >
        here.find("forecast")->find("step_seconds")->number());
  const Outcome fewer = narrows_with({"simulate", file.path, "--cluster", "a100:4"});
  CHECK(fewer.code == 1);
  CHECK(fewer.err.find("8 GPUs") != std::string::npos);
}

TEST_CASE("simulate: plays the exchange of context parallelism that the plan names") {
  const Scratch file("context.json");
  REQUIRE(narrows_with(small_job({"--fix", "cp=4", "--out", file.path})).code == 0);
  Result<Plan> plan = read_plan(file.path);
  REQUIRE(plan);
  CHECK(context_exchange_of(plan->comm.cp));
  std::vector<double> steps;
  for (const char* exchange : {"ring", "all-gather"}) {
    plan->comm.cp = exchange;
    REQUIRE(write_file(file.path, text_of(*plan)));
    const Json root = json_of(narrows_with({"simulate", file.path, "--json"}));
    CHECK(root.find("strategy")->find("comm")->find("cp")->find("algorithm")->string() == exchange);
    steps.push_back(root.find("forecast")->find("step_seconds")->number());
  }
  CHECK(steps[0] != steps[1]);
  plan->comm.cp = "p2p";
  REQUIRE(write_file(file.path, text_of(*plan)));
  const Outcome outcome = narrows_with({"simulate", file.path});
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("strategy.comm.cp: expected one of ring, all-gather") !=
        std::string::npos);
}

TEST_CASE("simulate: a plan that no longer fits is infeasible") {
  const Scratch file("small.json");
  REQUIRE(narrows_with(small_job({"--out", file.path})).code == 0);
  const Outcome outcome =
      narrows_with({"simulate", file.path, "--json", "--set", "cluster.chip.memory_reported=1GiB"});
  CHECK(outcome.code == 3);
  CHECK(json_of(outcome).find("infeasible")->is_object());
}

TEST_CASE("simulate: the trace holds every instruction of every rank") {
  const Scratch file("traced.json"), trace("trace.json");
  REQUIRE(narrows_with(small_job({"--fix", "pp=2,tp=1,dp=4,schedule=1f1b,micro_batch=1", "--out",
                                  file.path}))
              .code == 0);
  REQUIRE(narrows_with({"simulate", file.path, "--trace", trace.path}).code == 0);
  const Result<Json> json = read_json(trace.path);
  REQUIRE(json);
  int forwards = 0, backwards = 0, samples = 0;
  for (const Json& event : json->find("traceEvents")->items()) {
    const Json* kind = event.find("cat");
    forwards += kind != nullptr && kind->string() == "F";
    backwards += kind != nullptr && kind->string() == "B";
    samples += event.find("ph")->string() == "C";
  }
  CHECK(forwards == 2 * 16);  // two ranks, 64 sequences over 4 replicas
  CHECK(backwards == 2 * 16);
  CHECK(samples >= forwards + backwards);
}

TEST_CASE("diff: names the fields that differ and which plan is faster") {
  const Scratch a("a.json"), b("b.json");
  REQUIRE(narrows_with(small_job({"--fix", "tp=1,pp=1", "--out", a.path})).code == 0);
  REQUIRE(narrows_with(small_job({"--fix", "tp=8,pp=1", "--out", b.path})).code == 0);
  const Outcome same = narrows_with({"diff", a.path, a.path});
  CHECK(same.code == 0);
  CHECK(same.out.find("The plans decide the same.") != std::string::npos);
  const Json root = json_of(narrows_with({"diff", a.path, b.path, "--json"}));
  const Json* tp = root.find("fields")->find("strategy.tp");
  REQUIRE(tp != nullptr);
  CHECK(tp->find("first")->string() == "1");
  CHECK(tp->find("second")->string() == "8");
  CHECK(root.find("step_seconds")->find("first")->number() <
        root.find("step_seconds")->find("second")->number());
  CHECK(root.find("why")->items().front().string().starts_with(a.path + " is faster"));
}

}  // namespace narrows

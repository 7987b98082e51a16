// SPDX-License-Identifier: Apache-2.0
#include "accuracy/validation_report.h"

#include <catch2/catch.hpp>

#include "accuracy/nearest_runs.h"
#include "accuracy/published_fixture.h"

namespace narrows {
namespace {

ValidatedRun with_error(double error) {
  ValidatedRun run;
  run.measured = 10 * sec;
  run.predicted = (1 + error) * run.measured;
  run.error = error;
  return run;
}
ValidatedRun refused() {
  ValidatedRun run;
  run.measured = 1 * sec;
  run.unsupported = "no batch";
  return run;
}

}  // namespace

TEST_CASE("validation: an unsupported run counts as 100 % in the 90th percentile only") {
  std::vector<ValidatedRun> runs(8, with_error(-0.1));
  runs.push_back(with_error(0.2));
  runs.push_back(refused());
  ErrorSummary summary = summary_of(runs);
  CHECK((summary.n == 10 && summary.unsupported == 1));
  CHECK(*summary.median_absolute == Approx(0.1));
  CHECK(*summary.p90_absolute == Approx(0.2));
  CHECK(*summary.mean_signed == Approx((0.2 - 0.8) / 9));
  runs.push_back(refused());
  CHECK(*summary_of(runs).p90_absolute == 1);
}

TEST_CASE("validation: runs that software was fitted to are not scored with the others") {
  std::vector<ValidatedRun> runs = {with_error(0.1), with_error(0.5)};
  runs[1].calibration = true;
  CHECK(summary_of(runs).n == 1);
  CHECK(*summary_of(runs).p90_absolute == Approx(0.1));
}

TEST_CASE("validation: nothing supported has no median, and is null in JSON") {
  ValidationReport report;
  report.runs = {refused()};
  report.summary = summary_of(report.runs);
  const Json json = to_json(report);
  CHECK(json.find("summary")->find("median_abs_error")->is_null());
  CHECK(json.find("summary")->find("p90_abs_error")->number() == 1);
  const Json& run = json.find("runs")->items()[0];
  CHECK(run.find("predicted_step_seconds")->is_null());
  CHECK(run.find("unsupported")->string() == "no batch");
}

TEST_CASE("validation: one group is predicted run by run, excluded ones left out") {
  RunPredictor predictor(published().library, published().tables);
  std::vector<Run> runs = published().runs;
  const ValidationReport report = *validate_runs(runs, predictor, "llama3-405b");
  CHECK(report.runs.size() == 3);
  CHECK(report.by_group.size() == 1);
  CHECK(report.by_group.at("llama3-405b").n == 3);
  for (const ValidatedRun& run : report.runs) {
    CHECK(*run.error == Approx(*run.predicted / run.measured - 1));
    CHECK(*run.predicted_memory > Bytes());
  }
  for (Run& run : runs) {
    if (run.id == "llama3-405b-16384g-cp16") run.excluded = "for the test";
  }
  const ValidationReport fewer = *validate_runs(runs, predictor, "llama3-405b");
  CHECK((fewer.runs.size() == 2 && fewer.not_scored == 1));
  CHECK(validate_runs(runs, predictor, "no such").error().code == ErrorCode::NotFound);
}

TEST_CASE("validation: the same bytes twice") {
  RunPredictor first(published().library, published().tables);
  RunPredictor second(published().library, published().tables);
  const auto text = [](RunPredictor& predictor) {
    return to_json(*validate_runs(published().runs, predictor, "korthikanti-2022")).text();
  };
  CHECK(text(first) == text(second));
}

TEST_CASE("nearest runs: a published run is nearest to itself, then comes its like") {
  RunPredictor predictor(published().library, published().tables);
  const RunJob job = *predictor.jobs().job_of(published().run("llama3-405b-8192g-cp1"));
  const std::vector<NearestRun> nearest =
      nearest_runs(likeness_of(job), published().runs, predictor);
  REQUIRE(nearest.size() == 3);
  CHECK(nearest[0].id == "llama3-405b-8192g-cp1");
  CHECK(nearest[0].distance == 0);
  CHECK(nearest[1].id == "llama3-405b-16384g-cp1");
  CHECK(nearest[1].distance <= nearest[2].distance);
  const RunPrediction again = *predictor.predict(published().run(nearest[1].id));
  CHECK(nearest[1].predicted == again.step);
  CHECK(nearest[1].error == Approx(again.step / nearest[1].measured - 1));
}

TEST_CASE("nearest runs: distance is symmetric, zero for the same, and grows with the ratio") {
  RunLikeness a, b;
  a.gpus = 64;
  b.gpus = 256;
  CHECK(distance(a, a) == 0);
  CHECK(distance(a, b) == distance(b, a));
  RunLikeness c = b;
  c.gpus = 1024;
  CHECK(distance(a, c) == Approx(2 * distance(a, b)));
  RunLikeness moe = a;
  moe.moe = true;
  CHECK(distance(a, moe) > distance(a, c));
}

TEST_CASE("validation: memory is compared with what the source counts") {
  RankMemory memory;
  memory.parameters = 1 * GB;
  memory.gradients = 2 * GB;
  memory.optimizer = 3 * GB;
  memory.kept = 4 * GB;
  memory.transient = 5 * GB;
  memory.allocator = 6 * GB;
  memory.context = 7 * GB;
  memory.comm_buffers = 8 * GB;
  CHECK(counted(memory, MemoryCount::Allocated) == 15 * GB);
  CHECK(counted(memory, MemoryCount::Reserved) == 21 * GB);
  CHECK(counted(memory, MemoryCount::Process) == 36 * GB);
  ValidatedRun run;
  CHECK(fits(run));
  run.memory = memory;
  run.capacity = 36 * GB;
  CHECK(fits(run));
  run.capacity = 35 * GB;
  CHECK_FALSE(fits(run));
}

TEST_CASE("validation: recomputation that nobody states is the least with which a run fits") {
  RunPredictor predictor(published().library, published().tables);
  Run run = published().run("dgxc-v25.04-h100-llama3-70b-pretrain-fp8-64g");
  CHECK(predictor.job_of(run)->strategy.recompute == Recompute::None);
  // Eight times the activations do not fit beside the weights.
  run.layout.micro_batch = 8;
  const RunJob job = *predictor.job_of(run);
  CHECK(job.strategy.recompute == Recompute::Full);
  CHECK(std::count(job.assumed.begin(), job.assumed.end(),
                   "recompute=full (it would not fit with less)") == 1);
  // What a record states stays.
  run.layout.recompute = "none";
  CHECK(predictor.job_of(run)->strategy.recompute == Recompute::None);
  const RunPrediction prediction = *predictor.predict(run);
  CHECK(total(prediction.memory) > prediction.capacity);
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "accuracy/few_runs.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "accuracy/published_fixture.h"
#include "software/figures.h"
#include "software/profile_json.h"

namespace narrows {
namespace {

RunInputs inputs() { return {published().library, published().tables, {}, 2}; }

std::vector<Run> steps_of(const std::string& group) {
  std::vector<Run> runs;
  for (const Run& run : published().runs) {
    if (run.group == group && is_scored(run)) runs.push_back(run);
  }
  return runs;
}

double worst_error(const std::vector<Run>& runs, const SoftwareProfile& software) {
  RunInputs with = inputs();
  with.software = software;
  RunSet set(runs, with);
  double worst = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const double step = set.predict({i}, {}).front().step;
    worst = std::max(worst, std::abs(step / (*runs[i].step / sec) - 1));
  }
  return worst;
}

}  // namespace

TEST_CASE("few runs: a cluster that is slower by a fifth everywhere is learnt from three steps") {
  std::vector<Run> runs = steps_of("korthikanti-2022");
  RunSet set(runs, inputs());
  for (std::size_t i = 0; i < runs.size(); ++i)
    runs[i].step = 1.2 * set.predict({i}, {}).front().step * sec;
  const std::vector<Run> three(runs.begin(), runs.begin() + 3);
  const FewRunsFit fit = *fit_to_runs(three, inputs());
  CHECK(fit.rows == 3);
  CHECK(fit.median_before == Approx(1 - 1 / 1.2).epsilon(0.01));
  CHECK(fit.median_after < 0.05);
  // And carries over to the others.
  CHECK(worst_error(runs, fit.software) < 0.12);
}

TEST_CASE("few runs: steps that are as predicted change next to nothing") {
  std::vector<Run> runs = steps_of("korthikanti-2022");
  RunSet set(runs, inputs());
  for (std::size_t i = 0; i < runs.size(); ++i)
    runs[i].step = set.predict({i}, {}).front().step * sec;
  const FewRunsFit fit = *fit_to_runs(runs, inputs());
  CHECK(fit.median_after < 0.002);
  for (const std::string& field : fit.figures) {
    const double before = *figure_of(set.software_of(0), field);
    CHECK(*figure_of(fit.software, field) == Approx(before).epsilon(0.02));
  }
}

TEST_CASE("few runs: the profile that is written reads back, under a name of its own") {
  const FewRunsFit fit = *fit_to_runs(steps_of("llama3-405b"), inputs());
  const Json json = to_json(fit.software);
  JsonObject object = *JsonObject::of(json, "x");
  const Result<SoftwareProfile> again = software_from_json(object);
  if (!again) FAIL(again.error().message);
  CHECK(*again == fit.software);
  CHECK(again->name.ends_with("-calibrated"));
}

TEST_CASE("few runs: steps of two stacks, or none that can be predicted, are refused") {
  std::vector<Run> runs = steps_of("llama3-405b");
  const std::vector<Run> other = steps_of("llm-foundry");
  runs.insert(runs.end(), other.begin(), other.begin() + 1);
  CHECK(fit_to_runs(runs, inputs()).error().message.find("one training stack") !=
        std::string::npos);
  runs[0].hardware.chip = "";
  CHECK(fit_to_runs({runs[0]}, inputs()).error().code == ErrorCode::InvalidInput);
  CHECK(fit_to_runs({}, inputs()).error().code == ErrorCode::InvalidInput);
}

TEST_CASE("validate --calibrate: the first K of each group and chip teach, the others are scored") {
  const ValidationReport report = *validate_calibrated(published().runs, inputs(), 3, "torchtitan");
  std::map<std::string, std::set<std::string>> taught, scored;
  for (const ValidatedRun& run : report.runs)
    (run.calibration ? taught : scored)[run.facets.at("chip")].insert(run.id);
  for (const auto& [chip, ids] : taught) {
    CHECK(ids.size() <= 3);
    if (scored.count(chip) > 0) CHECK(*ids.rbegin() < *scored.at(chip).begin());
  }
  CHECK(report.summary.n == static_cast<int>(report.runs.size()) -
                                static_cast<int>(std::count_if(
                                    report.runs.begin(), report.runs.end(),
                                    [](const ValidatedRun& run) { return run.calibration; })));
  CHECK(validate_calibrated(published().runs, inputs(), 3, "none").error().code ==
        ErrorCode::NotFound);
}

}  // namespace narrows

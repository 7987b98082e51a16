// SPDX-License-Identifier: Apache-2.0
#include "accuracy/calibration.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <string>

#include "accuracy/leave_out.h"
#include "accuracy/lookup.h"
#include "accuracy/ordering.h"
#include "accuracy/published_fixture.h"
#include "plan/interval.h"
#include "software/fitted.h"
#include "software/library.h"

namespace narrows {
namespace {

// A profile like Megatron-Core whose gradients overlap as much as a fit says.
constexpr const char* kFree = R"({"name": "megatron-2022", "title": "t", "like": "megatron-core",
 "step_overhead": {"value": "100 ms", "fit": {"low": "1 ms", "high": "3 s"}, "source": "a test"}})";

std::vector<EmbeddedFile> overrides() {
  return {{"software/megatron-2022.json", kFree}, nothing_fitted()};
}

// Runs of one group and stack, `copies` times, measured as if each step had cost `overhead` more
// than without any.
struct Made {
  std::vector<Run> runs;
  std::vector<EmbeddedFile> files = overrides();

  explicit Made(double overhead, int copies = 5) {
    for (const Run& run : published().runs) {
      if (run.group != "korthikanti-2022" || !is_scored(run)) continue;
      for (int i = 0; i < copies; ++i) {
        runs.push_back(run);
        runs.back().id += "-" + std::to_string(i);
        if (i % 2 == 1) runs.back().group = "another";
      }
    }
    RunSet set = this->set();
    const std::vector<RowPrediction> with = set.predict(all(), {{kOverhead, overhead}});
    for (std::size_t i = 0; i < runs.size(); ++i) runs[i].step = with[i].step * sec;
  }
  RunSet set() const { return RunSet(runs, {published().library, published().tables, files, 2}); }
  std::vector<std::size_t> all() const {
    std::vector<std::size_t> rows(runs.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    return rows;
  }
  const FigureName kOverhead = {"megatron-2022", "step_overhead"};
};

}  // namespace

TEST_CASE("run set: a figure is set where bounds allow it, and comes back to the profile's") {
  const Made made(0.5);
  RunSet set = made.set();
  const double before = set.predict({0}, {}).front().step;
  const double more = set.predict({0}, {{made.kOverhead, 1.1}}).front().step;
  CHECK(more - before == Approx(1.0));
  CHECK(set.predict({0}, {{{"megatron-2022", "launch"}, 1.0}}).front().step == before);
  CHECK(set.predict({0}, {}).front().step == before);
}

TEST_CASE("run set: the same times with one thread and with three") {
  const Made made(0.5);
  RunSet one(made.runs, {published().library, published().tables, made.files, 1});
  RunSet three(made.runs, {published().library, published().tables, made.files, 3});
  const auto p = one.predict(made.all(), {}), q = three.predict(made.all(), {});
  for (std::size_t i = 0; i < p.size(); ++i) CHECK(p[i].step == q[i].step);
}

TEST_CASE("calibration: a fit finds the overhead that the times were made with") {
  const Made made(1.5);
  RunSet set = made.set();
  const FamilyFit fit = fit_family(set, {"megatron-core", "", measured_of(set), {}});
  REQUIRE(fit.constants.size() == 1);
  const FittedConstant& c = fit.constants.front();
  CHECK(c.name == made.kOverhead);
  CHECK(c.value == Approx(1.5).epsilon(0.01));
  CHECK(c.prior == Approx(0.1));
  CHECK(c.standard_error < 0.1);
  CHECK(c.rows == static_cast<int>(made.runs.size()));
  CHECK(c.groups == 2);
  CHECK(limits_broken({fit}).empty());
}

TEST_CASE("calibration: without one group the other decides") {
  Made made(1.5);
  for (Run& run : made.runs) {
    if (run.group == "another") run.step = 1.3 * *run.step;
  }
  RunSet set = made.set();
  const LeaveOut out = leave_one_group_out(set, measured_of(set));
  for (std::size_t i = 0; i < made.runs.size(); ++i) {
    const double error = out.left_out[i].step / (*made.runs[i].step / sec) - 1;
    // Each group is predicted by what the other taught.
    if (made.runs[i].group == "another") CHECK(error < 0);
    if (made.runs[i].group != "another") CHECK(error > 0);
  }
  const auto range = out.ranges.at(made.kOverhead);
  CHECK(range.first < range.second);
}

TEST_CASE("calibration: thirty rows a constant, five constants a family") {
  FamilyFit fit{"f", std::vector<std::size_t>(149), {}};
  FittedConstant constant;
  constant.name = {"f", "launch"};
  constant.rows = 149;
  fit.constants.assign(4, constant);
  CHECK(limits_broken({fit}).empty());
  fit.constants.assign(5, constant);
  CHECK(limits_broken({fit}).size() == 1);
  fit.rows.resize(500);
  CHECK(limits_broken({fit}).empty());
  fit.constants.assign(6, constant);
  CHECK(limits_broken({fit}) == std::vector<std::string>{"f: 6 constants, at most 5"});
  constant.rows = 29;
  fit.constants = {constant};
  CHECK(limits_broken({fit}) == std::vector<std::string>{"f.launch: 29 rows, at least 30"});
}

// The published fit itself: scripts/calibrate --check makes it again, this reads it.
TEST_CASE("fitted constants: bounded, few, and of no model, run or number of GPUs") {
  const Json fitted = *fitted_figures({});
  std::set<std::string> known;
  for (const std::string& name : software_names()) known.insert(name);
  std::map<std::string, int> of_family;
  for (const auto& [name, own] : fitted.find("profiles")->members()) {
    // Constants belong to training stacks and to nothing else.
    CHECK(known.count(name) == 1);
    const SoftwareProfile profile = *find_software(name);
    const Json* constants = own.find("constants");
    if (constants == nullptr) continue;
    for (const auto& [field, constant] : constants->members()) {
      CAPTURE(name, field);
      REQUIRE(profile.fits.count(field) == 1);
      CHECK(profile.fitted_in.at(field) == name);
      CHECK(constant.find("rows")->integer() >= kRowsPerConstant);
      CHECK(++of_family[profile.family] <= kMostConstants);
      CHECK(profile.sources.at(field).find("scripts/calibrate") != std::string::npos);
    }
  }
}

TEST_CASE("fitted constants: laid over built-in profiles, never over a user's own") {
  const Json overlay = *parse_json(
      R"({"profiles": {"narrows": {"constants": {"launch": {"value": "7 us", "prior": "2 us",
       "rows": 31, "groups": 2, "standard_error": "1 us"}}, "spread": {"dense": 1.2, "moe": 1.3}}}})",
      "x");
  const std::vector<EmbeddedFile> none = {nothing_fitted()};
  SoftwareProfile plain = *find_software("narrows", none);
  if (plain.fits.count("launch") == 0) {
    // Without bounds there is nothing to fit.
    CHECK(find_software("narrows", {fitted_as(overlay)})->launch == plain.launch);
  }
  CHECK(find_software("narrows", {fitted_as(overlay)})->spread == ForecastSpread{1.2, 1.3});
  const std::string child =
      R"({"name": "mine", "title": "m", "like": "narrows", "launch": {"value": "2 us",
       "fit": {"low": "1 us", "high": "9 us"}, "source": "s"}})";
  const Json mine =
      *parse_json(R"({"profiles": {"mine": {"constants": {"launch": {"value": "7 us"}}}}})", "x");
  const EmbeddedFile file = {"software/mine.json", child};
  CHECK(find_software("mine", {file, fitted_as(mine)})->launch == 2 * us);
  const Json laid = *with_fitted(*parse_json(child, "x"), mine);
  CHECK(laid.find("launch")->find("value")->string() == "7 us");
}

TEST_CASE("interval: kernels' errors and the stack's add in squares, and it inverts") {
  CHECK(interval_ratio(1, 0) == Approx(1));
  CHECK(interval_ratio(1.3, 0) == Approx(1.3));
  CHECK(interval_ratio(1.3, 0.1) > 1.3);
  CHECK(interval_ratio(1, 0.01) == Approx(1.01645).epsilon(1e-3));
  for (const double ratio : {0.7, 1.4}) {
    const double beyond = std::sqrt(unexplained_square(ratio, 0.05));
    const double root = 0.5 * (beyond + std::sqrt(beyond * beyond + 4));
    CHECK(interval_ratio(root * root, 0.05) == Approx(std::max(ratio, 1 / ratio)));
  }
}

TEST_CASE("spread: nine in ten left-out predictions lie inside, and none of the group is seen") {
  Made made(0.5, 12);
  RunSet set = made.set();
  std::vector<RowPrediction> predicted;
  for (std::size_t i = 0; i < made.runs.size(); ++i) {
    made.runs[i].group = "g" + std::to_string(i % 6);
    // Ratios from 1.01 to about 2.
    predicted.push_back({*made.runs[i].step / sec * (1.01 + 0.01 * static_cast<double>(i)), 0});
  }
  const double ratio = spreads_of(set, predicted).at("megatron-core").dense;
  int inside = 0;
  for (std::size_t i = 0; i < predicted.size(); ++i)
    inside += predicted[i].step / (*made.runs[i].step / sec) <= ratio * (1 + 1e-9) ? 1 : 0;
  CHECK(inside >= 0.9 * static_cast<double>(predicted.size()));
  CHECK(inside <= 0.93 * static_cast<double>(predicted.size()));
  predicted[0].step *= 100;
  CHECK(spreads_of(set, predicted, made.runs[0].group).at("megatron-core").dense <= ratio * 1.05);
}

TEST_CASE("shuffled: the same times of a family, in another order, by the seed alone") {
  const Made made(0.5);
  RunSet set = made.set();
  std::vector<double> times = measured_of(set), other = shuffled(set, 1);
  CHECK(times != other);
  CHECK(other == shuffled(set, 1));
  CHECK(other != shuffled(set, 2));
  std::sort(times.begin(), times.end());
  std::sort(other.begin(), other.end());
  CHECK(times == other);
}

TEST_CASE(
    "lookup: repeats a lone run in sample, and knows another group's efficiency only left out") {
  std::vector<Run> runs = {published().run("llama3-405b-8192g-cp1"),
                           published().run("llama3-405b-8192g-cp1")};
  runs[1].group = "other";
  runs[1].step = 2 * *runs[0].step;
  RunSet set(runs, {published().library, published().tables, {}, 1});
  const double step = *runs[0].step / sec;
  const std::vector<double> left_out = lookup_steps(set, true);
  CHECK(left_out[0] == Approx(2 * step));
  CHECK(left_out[1] == Approx(step));
  // The median of both efficiencies, in sample.
  CHECK(lookup_steps(set, false)[0] == Approx(step / 0.75));
}

TEST_CASE("ordering: pairs of a job's layouts that differ by more than three percent") {
  std::vector<Run> runs(4, published().run("llama3-405b-8192g-cp1"));
  const double times[] = {1, 1.02, 2, 3};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i].layout.micro_batch = 1 << i;
    runs[i].step = times[i] * sec;
  }
  std::vector<const Run*> rows;
  for (const Run& run : runs) rows.push_back(&run);
  const Ordering right = ordering_of(rows, {1, 0.9, 2, 3});
  CHECK((right.jobs == 1 && right.pairs == 5 && right.right == 5));
  CHECK(ordering_of(rows, {1, 1, 3, 2}).right == 4);
  CHECK(ordering_of(rows, {1, 1, 0, 0}).jobs == 0);
}

}  // namespace narrows

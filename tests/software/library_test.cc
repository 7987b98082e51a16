// SPDX-License-Identifier: Apache-2.0
#include "software/library.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "software/profile_json.h"

namespace narrows {
namespace {

std::string built_in_text(const std::string& name) {
  return *read_file(std::string(NARROWS_SOURCE_DIR) + "/hwprofiles/software/" + name + ".json");
}

// The complaint about hai-llm's file after `from` became `to`.
std::string complaint(const std::string& from, const std::string& to) {
  std::string text = built_in_text("hai-llm");
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  const Result<SoftwareProfile> profile = parse_software(text, "x.json");
  REQUIRE_FALSE(profile.has_value());
  CHECK(profile.error().code == ErrorCode::InvalidInput);
  return profile.error().message;
}

template <typename T>
bool has(const std::vector<T>& values, T value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

constexpr const char* kChild =
    R"({"name": "mine", "title": "mine", "like": "narrows",
 "launch": {"value": "3 us", "fit": {"low": "1 us", "high": "9 us"}, "source": "a test"}})";

// What reading `text` says, after hai-llm's own text became another profile's parent or not.
std::string refusal(const std::string& text, const std::vector<EmbeddedFile>& overrides = {}) {
  const Result<SoftwareProfile> profile = parse_software(text, "x.json", overrides);
  REQUIRE_FALSE(profile.has_value());
  return profile.error().message;
}

}  // namespace

TEST_CASE("software: a profile like another inherits all that it does not name") {
  const Result<SoftwareProfile> mine = parse_software(kChild, "x.json");
  if (!mine) FAIL(mine.error().message);
  SoftwareProfile expected = *find_software("narrows");
  expected.name = expected.title = "mine";
  expected.launch = 3 * us;
  expected.sources["launch"] = "a test";
  expected.fits["launch"] = {1e-6, 9e-6};
  CHECK(*mine == expected);
  CHECK(mine->family == "narrows");
}

TEST_CASE("software: a chain of likes ends at its family; a parent's override reaches the child") {
  std::string parent = built_in_text("narrows");
  parent.replace(parent.find("\"0.2 ms\""), 8, "\"7 ms\"");
  const std::vector<EmbeddedFile> overrides = {{"software/narrows.json", parent},
                                               {"software/mine.json", kChild}};
  const std::string grandchild = R"({"name": "two", "title": "two", "like": "mine"})";
  const Result<SoftwareProfile> two = parse_software(grandchild, "x.json", overrides);
  if (!two) FAIL(two.error().message);
  CHECK(two->family == "narrows");
  CHECK(two->launch == 3 * us);
  CHECK(two->step_overhead == 7 * ms);
  CHECK(two->fits.at("launch") == FitBounds{1e-6, 9e-6});
}

TEST_CASE("software: family and fit are written, and read back without the parent") {
  const SoftwareProfile mine = *parse_software(kChild, "x.json");
  const std::string text = to_json(mine).text();
  CHECK(text.find("\"like\"") == std::string::npos);
  CHECK(*parse_software(text, "again") == mine);
}

TEST_CASE("software: a like that names nobody, or itself, is refused") {
  CHECK(refusal(R"({"name": "a",
 "like": "nobody"})") == "x.json:2: like: no profile is named \"nobody\"");
  const std::string self = R"({"name": "a", "like": "a"})";
  CHECK(refusal(self, {{"software/a.json", self}}).find("expected a chain of at most 8 profiles") !=
        std::string::npos);
}

TEST_CASE("software: a complaint about what is inherited names the parent's file") {
  std::string parent = built_in_text("narrows");
  parent.replace(parent.find("\"0.2 ms\""), 8, "\"1 mm\"");
  CHECK(refusal(kChild, {{"software/narrows.json", parent}}).find("software/narrows.json:") == 0);
}

TEST_CASE("software: a child's unknown key is refused") {
  CHECK(refusal(R"({"name": "a", "like": "narrows",
 "lunch": 1})") == "x.json:2: lunch: unknown key; did you mean \"launch\"?");
}

TEST_CASE("software: a fit must bound its own value, and only numbers can be fitted") {
  const std::string fit = "\"fit\": {\"low\": \"3 us\", \"high\": \"4 us\"}";
  CHECK(complaint("\"2 us\"", "\"2 us\", " + fit) ==
        "x.json:93: launch.fit: expected low < high with the value between them");
  CHECK(complaint("\"deepep\"", "\"deepep\", \"fit\": {}") ==
        "x.json:77: dispatcher.fit: only a number, a time or a size can be fitted");
  CHECK(complaint("\"value\": 0.5", "\"value\": 0.5, \"fit\": {\"low\": 0, \"high\": 2}") ==
        "x.json:59: overlap_tp.fit.high: expected a number from 0 to 1, found the number 2");
}

TEST_CASE("software: every built-in profile reads, and writes back what was read") {
  const std::vector<std::string> expected = {"deepspeed",
                                             "deepspeed-2021",
                                             "fms-fsdp",
                                             "fsdp",
                                             "hai-llm",
                                             "llm-foundry",
                                             "maxtext",
                                             "megatron-2021",
                                             "megatron-2022",
                                             "megatron-bridge",
                                             "megatron-bridge-fused",
                                             "megatron-bridge-hybridep",
                                             "megatron-core",
                                             "nanotron",
                                             "narrows",
                                             "nemo",
                                             "torchtitan",
                                             "torchtitan-async-tp",
                                             "torchtitan-eager",
                                             "zero-bubble"};
  REQUIRE(software_names() == expected);
  for (const std::string& name : software_names()) {
    INFO(name);
    const Result<SoftwareProfile> profile = find_software(name);
    if (!profile) FAIL(profile.error().message);
    CHECK(profile->name == name);
    const std::string text = to_json(*profile).text();
    const Result<SoftwareProfile> again = parse_software(text, "again");
    if (!again) FAIL(again.error().message);
    CHECK(*again == *profile);
    CHECK(to_json(*again).text() == text);
  }
}

TEST_CASE("software: every figure of a built-in profile has a source") {
  for (const std::string& name : software_names()) {
    const SoftwareProfile profile = *find_software(name);
    CHECK(profile.sources.size() == 81);
    for (const auto& [field, source] : profile.sources) {
      INFO(name << " " << field);
      CHECK(source.size() > 5);
    }
  }
}

TEST_CASE("software: HAI-LLM as the V3 report describes it") {
  const SoftwareProfile hai = *find_software("hai-llm");
  CHECK(has(hai.schedules, ScheduleKind::DualPipe));
  CHECK(has(hai.recipes, Recipe::Fp8Block));
  CHECK(has(hai.recomputes, Recompute::V3));
  CHECK(hai.zero_stages == std::vector<int>{0, 1});
  CHECK(hai.gradient_dtype == Dtype::F32);
  CHECK(hai.moment_dtype == Dtype::Bf16);
  CHECK(hai.dispatcher == Dispatcher::DeepEp);
  CHECK(hai.comm_multiprocessors == 20);
  CHECK(hai.resident_quantised_weights);
  CHECK(hai.comm_buffers / GB == Approx(0.38 + 0.34));
}

TEST_CASE("software: HAI-LLM's slow-downs are what the trace's published figures give") {
  const SoftwareProfile hai = *find_software("hai-llm");
  // Microseconds a layer of transfers under compute, and of the stand-alone model.
  const double overlapped = 4346 + 3405 + 5994 + 6368;
  const double alone = 2 * 2380 + 2 * 4620;
  CHECK(hai.comm_slowdown == Approx(overlapped / alone).epsilon(1e-3));
  // o_proj, q_b, kv_b, shared gate_up and down, routed gate_up and down: time in the trace, TFLOP/s
  // there, TFLOP/s alone.
  const double rows[][3] = {{900.8, 1068, 1358}, {371.5, 832, 990},  {244.2, 563, 590},
                            {259.0, 929, 1304},  {138.0, 871, 1025}, {1862, 1025, 1297},
                            {1035, 922, 1099}};
  double trace = 0;
  double stand_alone = 0;
  for (const auto& [time, rate, rate_alone] : rows) {
    trace += time;
    stand_alone += time * rate / (rate_alone * 112 / 132);
  }
  CHECK(hai.compute_slowdown == Approx(trace / stand_alone).epsilon(1e-3));
}

TEST_CASE("software: Megatron of 2021 materialises scores and overlaps nothing") {
  const SoftwareProfile megatron = *find_software("megatron-2021");
  CHECK_FALSE(megatron.fused_attention);
  CHECK_FALSE(megatron.sequence_parallel);
  CHECK(megatron.zero_stages == std::vector<int>{0});
  CHECK(megatron.overlap_gradients == 0);
  CHECK_FALSE(has(megatron.recipes, Recipe::Bf16));
}

TEST_CASE("software: the built-in runtime runs every schedule and every recompute class") {
  const SoftwareProfile narrows = *find_software("narrows");
  CHECK(narrows.schedules == all_schedules());
  CHECK(narrows.recomputes == all_recomputes());
}

TEST_CASE("software: an unknown name is not found, and the nearest is named") {
  const Result<SoftwareProfile> near = find_software("megatron-cor");
  REQUIRE_FALSE(near.has_value());
  CHECK(near.error().code == ErrorCode::NotFound);
  CHECK(near.error().message ==
        "unknown software \"megatron-cor\"; did you mean \"megatron-core\"?");
  CHECK(find_software("").error().code == ErrorCode::NotFound);
  CHECK(find_software("zzzzzzzzzzzz").error().message ==
        "unknown software \"zzzzzzzzzzzz\"; `narrows list software` names all");
}

TEST_CASE(
    "software: a file of the same name overrides, a new one is added, others are left alone") {
  std::string faster = built_in_text("hai-llm");
  faster.replace(faster.find("\"2 us\""), 6, "\"1 us\"");
  std::string mine = built_in_text("narrows");
  mine.replace(mine.find("\"name\": \"narrows\""), 17, "\"name\": \"mine\"");
  const std::vector<EmbeddedFile> overrides = {{"software/hai-llm.json", faster},
                                               {"dir/software/mine.json", mine},
                                               {"chips/software.json", "{"}};
  CHECK(find_software("hai-llm", overrides)->launch == 1 * us);
  CHECK(find_software("hai-llm")->launch == 2 * us);
  CHECK(find_software("mine", overrides).has_value());
  CHECK(software_names(overrides).size() == software_names().size() + 1);
}

TEST_CASE("software: a file must bear its profile's name") {
  const std::vector<EmbeddedFile> overrides = {{"software/other.json", built_in_text("hai-llm")}};
  CHECK(find_software("other", overrides).error().message ==
        "software/other.json: name: expected \"other\" like the file, found \"hai-llm\"");
}

TEST_CASE("software: a missing file is not found, a path is read") {
  CHECK(load_software("no/such.json").error().code == ErrorCode::NotFound);
  const std::string path = std::string(NARROWS_SOURCE_DIR) + "/hwprofiles/software/narrows.json";
  CHECK(load_software(path)->name == "narrows");
  CHECK(load_software("narrows")->name == "narrows");
}

TEST_CASE("software: wrong values are refused with file, line and field") {
  CHECK(complaint("\"dualpipe\"", "\"dualpip\"") ==
        "x.json:5: schedules.value: expected a schedule such as \"1f1b\", found \"dualpip\"");
  CHECK(complaint("[0, 1]", "[0, 7]") ==
        "x.json:13: zero_stages.value: expected whole numbers from 0 to 3, found the number 7");
  CHECK(complaint("[0, 1]", "[1, 1]") ==
        "x.json:13: zero_stages.value: the number 1 is there twice");
  CHECK(complaint("[0, 1]", "[]") == "x.json:13: zero_stages: expected at least one");
  CHECK(complaint("\"2 us\"", "2") ==
        "x.json:93: launch.value: expected a time such as \"3.7 us\", found the number 2");
  CHECK(complaint("\"2 us\"", "\"2 GB\"") ==
        "x.json:93: launch.value: expected a time such as \"3.7 us\", found \"2 GB\"");
  CHECK(complaint("\"value\": 0.5", "\"value\": 1.5") ==
        "x.json:59: overlap_tp.value: expected a number from 0 to 1, found the number 1.5");
  CHECK(complaint("\"deepep\"", "\"nccl\"") ==
        "x.json:77: dispatcher.value: expected \"deepep\", \"all-to-all\", \"all-gather\" or "
        "\"per-rank\", found \"nccl\"");
}

TEST_CASE("software: unknown, missing and doubled keys, and an empty source, are refused") {
  CHECK(complaint("\"launch\"", "\"lunch\"") ==
        "x.json:1: launch: expected an object, found no such key");
  CHECK(complaint("  \"notes\"", "  \"overlap\": 1,\n  \"notes\"").find("overlap: unknown key") !=
        std::string::npos);
  CHECK(complaint("\"value\": \"2 us\"", "\"value\": \"2 us\", \"mark\": \"x\"") ==
        "x.json:93: launch.mark: unknown key");
  CHECK(complaint("\"source\": \"nothing is emulated\"", "\"source\": \"\"")
            .find("emulated_recipes.source: expected where the value comes from") !=
        std::string::npos);
}

}  // namespace narrows

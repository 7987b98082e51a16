// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/file.h"
#include "plan/jobs.h"
#include "plan/strategy_json.h"

namespace narrows {
namespace {

Forecast some_forecast() {
  Forecast f;
  f.step = 20 * sec;
  f.step_low = 18.5 * sec;
  f.step_high = 21.7 * sec;
  f.tokens_per_second_per_gpu = 1536.0;
  f.model_tflops_per_gpu = 383.7;
  f.flops_convention = "deepseek";
  f.mfu = 0.3878;
  f.peak_tflops = 989.4;
  f.memory_peak = 74e9 * byte;
  f.memory_capacity = 84943110144.0 * byte;
  f.breakdown = {{"compute", 15.5 * sec},
                 {"exposed_comm", 2.25 * sec},
                 {"bubble", 2 * sec},
                 {"optimizer", 0.25 * sec}};
  f.gpu_hours = 2664000.0;
  f.days = 54.2;
  f.goodput = 0.97;
  f.basis = {.measured = 0.5, .interpolated = 0.25, .transferred = 0, .roofline = 0.25};
  f.memory = {RankMemory{.parameters = 4 * GB, .kept = 40.5 * byte}, RankMemory{}};
  return f;
}

// The plan file of V3 with `from` replaced by `to`, its first occurrence after `after`.
std::string edited(const std::string& after, const std::string& from, const std::string& to) {
  std::string text = text_of(v3_plan());
  const std::size_t begin = text.find(after);
  REQUIRE(begin != std::string::npos);
  const std::size_t at = text.find(from, begin);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string complaint(const std::string& text) {
  const Result<Plan> plan = parse_plan(text, "p.json");
  REQUIRE_FALSE(plan.has_value());
  CHECK(plan.error().code == ErrorCode::InvalidInput);
  return plan.error().message;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Plan interleaved_plan() {
  Plan plan;
  plan.model = dense_model();
  plan.cluster = h800(16);
  plan.software = *find_software("megatron-core");
  plan.training = {.sequence = 2048, .global_batch = 32};
  plan.strategy = {.tp = 2,
                   .pp = 2,
                   .vpp = 2,
                   .dp = 4,
                   .micro_batches = 8,
                   .schedule = ScheduleKind::Interleaved};
  plan.stages = stages_from(plan.strategy, {{0, 2}, {3, 4}, {5, 6}, {7, 9}});
  return plan;
}

}  // namespace

TEST_CASE("plan file: what was written reads back and writes the same bytes") {
  for (Plan plan : {v3_plan(), interleaved_plan()}) {
    for (const bool with_forecast : {false, true}) {
      if (with_forecast) {
        plan.forecast = some_forecast();
        plan.stages[0].memory_peak = 70e9 * byte;
        plan.stages[1].memory_peak = 12345.5 * byte;
      }
      const std::string text = text_of(plan);
      const Result<Plan> again = parse_plan(text, "p.json");
      if (!again) FAIL(again.error().message);
      CHECK(text_of(*again) == text);
      CHECK(again->model == plan.model);
      CHECK(again->software == plan.software);
      CHECK(again->training == plan.training);
      CHECK(again->strategy == plan.strategy);
      CHECK(again->comm == plan.comm);
      CHECK(again->stages == plan.stages);
      CHECK(again->forecast == plan.forecast);
    }
  }
}

TEST_CASE("plan file: the keys stand in a fixed order") {
  std::vector<std::string> keys;
  const Json json = to_json(v3_plan());
  for (const Json::Member& member : json.members()) keys.push_back(member.first);
  CHECK(keys == std::vector<std::string>{"version", "model", "cluster", "software", "training",
                                         "strategy", "stages", "forecast"});
}

TEST_CASE("strategy: its JSON has the contract's fields in the contract's order") {
  CHECK(
      to_json(v3_strategy(), {.ep = "deepep"}).compact() ==
      R"({"tp":1,"pp":16,"vpp":1,"ep":64,"etp":1,"cp":1,"dp":128,"dp_shard":128,"zero":1,"micro_batch":1,)"
      R"("micro_batches":120,"sequence_parallel":false,"order":"tp-cp-dp-pp","schedule":"dualpipe",)"
      R"("precision":"fp8-block","recompute":"v3",)"
      R"("comm":{"tp":{},"dp":{},"ep":{"algorithm":"deepep"},"cp":{},"pp":{}}})");
}

TEST_CASE("stages: DualPipe's ranks hold a stage of each direction") {
  const Plan plan = v3_plan();
  CHECK(plan.stages[0].chunks ==
        std::vector<Chunk>{{0, 3, Recompute::V3}, {60, 63, Recompute::V3}});
  CHECK(plan.stages[15].chunks ==
        std::vector<Chunk>{{60, 63, Recompute::V3}, {0, 3, Recompute::V3}});
  CHECK(chunks_of_route(plan, 0) == chunks_of_route(plan, 1));
  CHECK(chunks_of_route(interleaved_plan()) == std::vector<Chunk>{{0, 2}, {3, 4}, {5, 6}, {7, 9}});
  CHECK(
      stages_json(plan).items()[1].compact() ==
      R"({"rank":1,"chunks":[{"items":[4,7],"recompute":"v3"},{"items":[56,59],"recompute":"v3"}],)"
      R"("memory_peak_bytes":null})");
}

TEST_CASE("plan file: an unknown key is refused with its place") {
  CHECK(complaint(edited("{", "\"version\"", "\"wall_time\": 3,\n  \"version\"")) ==
        "p.json:2: wall_time: unknown key");
  CHECK(contains(complaint(edited("\"strategy\"", "\"tp\": 1", "\"tp\": 1, \"fsdp\": 2")),
                 ": strategy.fsdp: unknown key"));
  CHECK(contains(complaint(edited("\"comm\"", "\"algorithm\"", "\"algorithmm\"")),
                 ": strategy.comm.ep.algorithmm: unknown key; did you mean \"algorithm\"?"));
  CHECK(contains(complaint(edited("\"training\"", "\"routing\"", "\"router\"")),
                 ": training.router: unknown key"));
  CHECK(contains(complaint(edited("\"stages\"", "\"items\"", "\"layers\"")),
                 "stages[0].chunks[0].items: expected an array"));
}

TEST_CASE("plan file: another version is refused") {
  CHECK(complaint(edited("{", "\"version\": 1", "\"version\": 2")) ==
        "p.json:2: version: this program reads plans of version 1, found 2");
}

TEST_CASE("plan file: a model's config.json in its place is called one") {
  CHECK(complaint(R"({"model_type": "llama"})") ==
        "p.json: expected a plan, found a model: `narrows plan --model p.json --cluster C --out "
        "plan.json` makes one");
}

TEST_CASE("plan file: a strategy that breaks a rule is refused in the rule's words") {
  CHECK(complaint(edited("\"strategy\"", "\"tp\": 1", "\"tp\": 7")) ==
        "p.json: tp=7: 128 attention heads are not divisible by 7");
  CHECK(complaint(edited("\"strategy\"", "\"dualpipe\"", "\"1f1b\"")) ==
        "p.json: stages[0].chunks: schedule 1f1b has 1 a rank, found 2");
  CHECK(contains(complaint(edited("\"strategy\"", "\"dualpipe\"", "\"dualpip\"")),
                 ": strategy.schedule: unknown schedule \"dualpip\""));
  CHECK(
      contains(complaint(edited("\"strategy\"", "\"tp\": 1", "\"tp\": 1.5")),
               ": strategy.tp: expected a whole number from 1 to 16777216, found the number 1.5"));
}

TEST_CASE("plan: chunks cover every item once, in order, on every route") {
  const auto broken = [](auto change) {
    Plan plan = v3_plan();
    change(plan.stages);
    const Status status = validate(plan);
    return status ? std::string() : status.error().message;
  };
  using Stages = std::vector<Stage>;
  CHECK(broken([](Stages&) {}) == "");
  CHECK(broken([](Stages& s) { s[1].chunks[0].first = 5; }) ==
        "stages[1].chunks[0]: must begin at item 4, after the stage before it, found 5");
  CHECK(broken([](Stages& s) { s[0].chunks[0].last = 4; }) ==
        "stages[1].chunks[0]: must begin at item 5, after the stage before it, found 4");
  CHECK(broken([](Stages& s) { s[15].chunks[0].last = 62; }) ==
        "stages[15].chunks[0]: the last stage must end at item 63, found 62");
  CHECK(broken([](Stages& s) { s[15].chunks[0].last = 64; }) ==
        "stages[15].chunks[0]: expected a last item from 60 to 63, found 64");
  CHECK(broken([](Stages& s) { s[3].chunks[0].last = 11; }) ==
        "stages[3].chunks[0]: expected a last item from 12 to 63, found 11");
  CHECK(broken([](Stages& s) { s.pop_back(); }) == "stages: expected 16 (pp), found 15");
  CHECK(broken([](Stages& s) { s[2].chunks.pop_back(); }) ==
        "stages[2].chunks: schedule dualpipe has 2 a rank, found 1");
}

TEST_CASE("plan: DualPipe's two directions cut the model at the same places") {
  Plan plan = v3_plan();
  plan.stages[15].chunks[1].last = 4;  // stages 0 and 1 of the way back
  plan.stages[14].chunks[1].first = 5;
  CHECK(validate(plan).error().message ==
        "stages[14].chunks[1]: expected items 4 to 7 like its mirror rank, found 5 to 7");
}

TEST_CASE("plan: a chunk may mix recompute classes, V3's only with MLA") {
  Plan plan = v3_plan();
  plan.stages[0].chunks[0].recompute = Recompute::Full;
  CHECK(validate(plan).has_value());
  Plan dense = interleaved_plan();
  dense.stages[1].chunks[0].recompute = Recompute::V3;
  CHECK(validate(dense).error().message ==
        "stages[1].chunks[0]: recompute=v3 needs multi-head latent attention");
}

TEST_CASE("forecast: totals that were not asked for are null, never zero") {
  const Json json = to_json(some_forecast());
  CHECK(json.find("cost_usd")->is_null());
  CHECK(json.find("energy_mwh")->is_null());
  CHECK(json.find("days")->number() == 54.2);
  CHECK(json.find("memory_peak_bytes")->integer() == 74'000'000'000);
  CHECK(json.find("breakdown")->compact() ==
        R"({"compute":15.5,"exposed_comm":2.25,"bubble":2,"optimizer":0.25})");
}

TEST_CASE("forecast: the parts of a rank's memory add up") {
  CHECK(total({.parameters = 1 * GB,
               .gradients = 2 * GB,
               .optimizer = 4 * GB,
               .kept = 8 * GB,
               .transient = 16 * GB,
               .comm_buffers = 32 * GB,
               .context = 64 * GB,
               .allocator = 128 * GB}) == 255 * GB);
}

TEST_CASE("plan file: missing, empty and broken files are refused with their name") {
  CHECK(read_plan("no/such/plan.json").error().code == ErrorCode::NotFound);
  CHECK(contains(complaint(""), "p.json"));
  CHECK(complaint("[]") == "p.json:1: expected an object, found an array");
  CHECK(complaint("{}") ==
        "p.json:1: version: expected a whole number from 1 to 1000000, found no such key");
  std::string half = text_of(v3_plan());
  half.resize(half.size() / 2);
  CHECK(contains(complaint(half), "p.json:"));
}

}  // namespace narrows

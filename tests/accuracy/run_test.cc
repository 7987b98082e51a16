// SPDX-License-Identifier: Apache-2.0
#include "accuracy/run.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

namespace narrows {
namespace {

const std::string kRecord =
    R"({"id":"a","group":"g","notes":"prose","model":{"name":"M","layers":4,"hidden":512,)"
    R"("heads":8,"kv_heads":2,"head_dim":64,"ffn":2048,"vocab":1000,"gated_mlp":true,)"
    R"("moe":{"experts":16,"topk":2,"expert_ffn":256,"shared_experts":2,)"
    R"("shared_expert_ffn":256,"dense_layers":1,"moe_layer_step":1}},"seq_len":2048,)"
    R"("global_batch_seqs":64,"micro_batch":null,"hardware":{"n_gpus":16,"chip":"H100"},)"
    R"("parallelism":{"tp":2,"pp":1,"vpp":null,"zero_stage":1},)"
    R"("norm":{"chip_profile":"h100-sxm5","nic_GBps_per_gpu":25,"recipe":"bf16",)"
    R"("memory":{"bytes":5e10,"kind":"allocated"},"optional":{"sequence_parallel":false}},)"
    R"("score":{"step_time_s":1.5,"basis":"step"}})";

Run only_run(const std::string& text, const std::string& exclusions = "") {
  const Result<std::vector<Run>> runs = parse_runs(text, "x/runs.jsonl", exclusions);
  REQUIRE(runs.has_value());
  REQUIRE(runs->size() == 1);
  return runs->front();
}

std::string complaint(const std::string& text) {
  const Result<std::vector<Run>> runs = parse_runs(text, "x/runs.jsonl");
  REQUIRE_FALSE(runs.has_value());
  CHECK(runs.error().code == ErrorCode::InvalidInput);
  return runs.error().message;
}

}  // namespace

TEST_CASE("runs: numbers and the vocabulary are read, prose and unknown keys are not") {
  const Run run = only_run(kRecord + "\n\n");
  CHECK(run.id == "a");
  CHECK(run.task == "pretrain");
  CHECK(run.hardware.chip == "h100-sxm5");
  CHECK(run.hardware.gpus == 16);
  CHECK(*run.hardware.nic / (GB / sec) == Approx(25));
  CHECK(run.layout.tp == 2);
  CHECK(run.layout.sequence_parallel == false);
  CHECK(*run.step / sec == 1.5);
  CHECK(*run.memory / GB == Approx(50));
  CHECK(is_scored(run));
}

TEST_CASE("runs: null and absent are the same, not stated") {
  const Run run = only_run(kRecord);
  CHECK_FALSE(run.layout.micro_batch.has_value());
  CHECK_FALSE(run.layout.vpp.has_value());
  CHECK_FALSE(run.layout.ep.has_value());
  CHECK(run.layout.schedule.empty());
}

TEST_CASE("runs: the shared experts' size is printed for one of them") {
  const Run run = only_run(kRecord);
  CHECK(run.model->moe->shared_ffn == 512);
  CHECK(run.model->moe->dense_layers == 1);
  CHECK(run.model->activation == Activation::SwiGlu);
}

TEST_CASE("runs: a model without a shape is no model, and is not refused") {
  CHECK_FALSE(only_run(R"({"id":"b","model":{"name":"secret","layers":null}})").model);
}

TEST_CASE("runs: an id in exclude.json is not scored, for the reason that stands there") {
  CHECK(is_scored(only_run(kRecord, R"({"b": "other"})")));
  const Run run = only_run(kRecord, R"({"a": "printed twice"})");
  CHECK_FALSE(is_scored(run));
  CHECK(run.excluded == "printed twice");
}

TEST_CASE("runs: a complaint names file, line and key") {
  CHECK_THAT(complaint(kRecord + "\n{\"id\": 3}\n"), Catch::Contains("x/runs.jsonl:2"));
  CHECK_THAT(complaint(kRecord + "\n{\"id\": 3}\n"), Catch::Contains("id"));
  CHECK_THAT(complaint(R"({"id":"a","seq_len":-1})"), Catch::Contains("seq_len"));
  CHECK_THAT(complaint("[]"), Catch::Contains("object"));
}

TEST_CASE("runs: the carried ones are read whole, with distinct ids") {
  const Result<std::vector<Run>> runs = published_runs();
  REQUIRE(runs.has_value());
  CHECK(runs->size() == 1050);
  std::set<std::string> ids;
  for (const Run& run : *runs) ids.insert(run.id);
  CHECK(ids.size() == runs->size());
  CHECK(std::count_if(runs->begin(), runs->end(), is_scored) == 976);
  CHECK(std::all_of(runs->begin(), runs->end(), [](const Run& r) { return !r.source.empty(); }));
}

TEST_CASE("runs: what a figure of memory counts") {
  const auto count_of = [](const std::string& kind) {
    const std::string text =
        R"({"id":"x","norm":{"memory":{"bytes":5e10,"kind":")" + kind + R"("}}})";
    return parse_runs(text, "x.jsonl")->front().memory_count;
  };
  CHECK(count_of("allocated") == MemoryCount::Allocated);
  CHECK(count_of("process") == MemoryCount::Process);
  CHECK(count_of("reserved") == MemoryCount::Reserved);
  CHECK(count_of("printed") == MemoryCount::Reserved);
}

}  // namespace narrows

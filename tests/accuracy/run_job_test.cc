// SPDX-License-Identifier: Apache-2.0
#include "accuracy/run_job.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "accuracy/published_fixture.h"
#include "plan/validate.h"
#include "software/library.h"

namespace narrows {
namespace {

RunJob job_of(const Run& run) {
  RunJobs jobs(published().library);
  const Result<RunJob> job = jobs.job_of(run);
  if (!job) FAIL(job.error().message);
  return *job;
}
RunJob job_of(const std::string& id) { return job_of(published().run(id)); }

bool assumes(const RunJob& job, const std::string& what) {
  return std::find(job.assumed.begin(), job.assumed.end(), what) != job.assumed.end();
}

bool has_schedule(const SoftwareProfile& software, ScheduleKind kind) {
  return std::count(software.schedules.begin(), software.schedules.end(), kind) > 0;
}

std::string reason(const Run& run) {
  RunJobs jobs(published().library);
  const Result<RunJob> job = jobs.job_of(run);
  REQUIRE_FALSE(job.has_value());
  return job.error().message;
}

}  // namespace

TEST_CASE("run job: DeepSeek-V3 on 2,048 H800 is DualPipe over 16 ranks in hai-llm") {
  const RunJob job = job_of("deepseek-v3-isca25-mpft");
  CHECK(job.software.name == "hai-llm");
  CHECK(job.cluster.chip.name == "h800-sxm5");
  CHECK(job.cluster.gpus == 2048);
  CHECK(job.cluster.levels.back().nominal.value / (GB / sec) == Approx(50));
  const Strategy& s = job.strategy;
  CHECK(s.schedule == ScheduleKind::DualPipe);
  CHECK(s.precision == Recipe::Fp8Block);
  CHECK(s.recompute == Recompute::V3);
  CHECK((s.pp == 16 && s.ep == 64 && s.dp == 128 && s.micro_batches == 120));
  CHECK((s.zero == 1 && s.dp_shard == 128));
  CHECK(job.training.routing == Routing::Natural);
  // Node-limited routing is not among the record's numbers: it is the built-in model's.
  CHECK((job.model.moe->groups == 8 && job.model.moe->top_groups == 4));
  CHECK(job.model.moe->shared_ffn == 2048);
  CHECK(job.assumed.empty());
}

TEST_CASE("run job: Llama 3 405B falls back to a family by layout, one layer a chunk") {
  const RunJob job = job_of("llama3-405b-8192g-cp1");
  CHECK_FALSE(job.software_known);
  CHECK(job.software.name == "megatron-core");
  CHECK(assumes(job, "software=megatron-core (for other)"));
  // 126 layers and both ends are 16 ranks times 8 chunks of one item.
  CHECK((job.strategy.schedule == ScheduleKind::Interleaved && job.strategy.vpp == 8));
  CHECK(assumes(job, "vpp=8"));
  CHECK((job.strategy.zero == 2 && job.strategy.dp_shard == 64));
  CHECK(job.strategy.sequence_parallel);
}

TEST_CASE("run job: Megatron's trillion of 2021 has GELU, LayerNorm, no sequence parallelism") {
  const RunJob job = job_of("megatron21-table1-1008.0b");
  CHECK(job.software.name == "megatron-2021");
  CHECK(job.model.activation == Activation::Gelu);
  CHECK(job.model.norm == NormKind::Layer);
  CHECK(job.model.linear_bias);
  CHECK_FALSE(job.strategy.sequence_parallel);
  CHECK((job.strategy.tp == 8 && job.strategy.pp == 64));
  CHECK(job.strategy.schedule == ScheduleKind::OneFOneB);
  CHECK((job.strategy.recompute == Recompute::Full && job.strategy.zero == 0));
}

TEST_CASE("run job: what a paper's table leaves out stands in the script that reproduces it") {
  const RunJob eighteen = job_of("megatron21-table1-18.4b");
  CHECK(eighteen.strategy.micro_batch == 8);
  CHECK_FALSE(assumes(eighteen, "micro_batch=8"));
  const RunJob large = job_of("megatron21-table1-145.6b");
  CHECK((large.strategy.micro_batch == 2 && large.strategy.vpp == 2));
}

TEST_CASE("run job: a run that drops tokens does not wait for counts") {
  const RunJob drops = job_of("mbridge-25.09-b200-qwen3-30b-a3b-pretrain-8g-fp8-cs-gbs512");
  CHECK(drops.software.dispatcher == Dispatcher::AllToAll);
  CHECK(drops.software.dispatch_sync == Seconds());
  CHECK(drops.software.graphs == GraphScope::Pass);
  const RunJob keeps = job_of("mbridge-25.11-b200-qwen3-30b-a3b-pretrain-8g-fp8-mx-gbs512");
  CHECK(keeps.software.dispatch_sync > Seconds());
}

TEST_CASE("run job: a mixture of experts that no recipe names has its release's defaults") {
  Run run = published().run("mbridge-26.08-gb300-deepseekv3-pretrain-256g-mxfp8-gbs4096");
  run.model->name = "somebody's";
  const auto software = [&](const std::string& version, const std::string& chip,
                            const std::string& recipe) {
    run.software_version = version;
    run.hardware.chip = chip;
    run.layout.recipe = recipe;
    return job_of(run).software;
  };
  CHECK(software("26.08", "gb300", "mxfp8").name == "megatron-bridge-fused");
  CHECK(software("26.08", "gb300", "bf16").name == "megatron-bridge-hybridep");
  CHECK(software("25.11", "gb200", "mxfp8").dispatcher == Dispatcher::DeepEp);
  CHECK(software("25.11", "b200", "mxfp8").name == "megatron-bridge");
  CHECK(software("26.04", "b200", "mxfp8").name == "megatron-bridge-hybridep");
  CHECK(software("25.09", "gb200", "mxfp8").name == "megatron-bridge");
  // What a recipe says of a model counts, from the first release's settings on.
  run.model->name = "GPT-OSS-120B";
  CHECK(software("26.04", "gb300", "bf16").dispatcher == Dispatcher::AllToAll);
  run.model->moe.reset();
  run.model->mtp_layers = 0;
  CHECK(software("26.08", "gb300", "bf16").name == "megatron-bridge");
}

TEST_CASE("run job: fine-tuning packs short samples, in NVIDIA's recipes") {
  Run run = published().run("mbridge-25.09-h100-llama3-8b-pretrain-8g-fp8-cs-gbs128");
  CHECK(job_of(run).model.packed_samples == 0);
  run.task = "sft";
  CHECK(job_of(run).model.packed_samples == 200);
  run.software = "xtuner";
  CHECK(job_of(run).model.packed_samples == 0);
  const RunJob lora = job_of("nemo-24.07-llama2-7b-lora-8g");
  CHECK((lora.model.packed_samples == 200 && assumes(lora, "packed_samples=200")));
}

TEST_CASE("run job: a chip that no node type carries gets a node of its own links") {
  const RunJob palm = job_of("palm-540b");
  CHECK(palm.cluster.chip.name == "tpu-v4");
  REQUIRE(palm.cluster.levels.size() == 1);  // a torus joins all
  CHECK(palm.cluster.levels.front().nominal.value == palm.cluster.chip.link->value);
  CHECK((palm.strategy.zero == 3 && palm.strategy.dp_shard == 256));
}

TEST_CASE("run job: V3 in Megatron on 1,024 H100 takes what it does not say from the stack") {
  const RunJob job = job_of("mbridge-25.09-h100-deepseekv3-pretrain-1024g-fp8-cs-gbs8192");
  CHECK(job.software.name == "megatron-bridge");
  CHECK(job.training.routing == Routing::Balanced);
  // Its published recipe says what the table does not.
  CHECK(job.strategy.recompute == Recompute::V3);
  CHECK_FALSE(assumes(job, "recompute=v3"));
  CHECK(job.software.dispatcher == Dispatcher::DeepEp);
  CHECK(job.strategy.sequence_parallel);
  CHECK(assumes(job, "sequence_parallel=true"));
  CHECK((job.strategy.etp == 1 && assumes(job, "etp=1")));
}

TEST_CASE("run job: a GB200 rack joins 72 GPUs, and within it there is no network") {
  const Run& run = published().run("mbridge-26.08-gb200-deepseekv3-pretrain-256g-mxfp8-gbs4096");
  const RunJob job = job_of(run);
  REQUIRE(job.cluster.levels.size() == 2);
  CHECK(job.cluster.levels.front().group == 72);
  CHECK(job.cluster.levels.back().group == 256);
  Run small = run;
  small.hardware.gpus = 64;
  small.global_batch = 64;
  small.layout.pp = 1;
  CHECK(job_of(small).cluster.levels.size() == 1);
}

TEST_CASE("run job: a stack that ran a schedule can run it") {
  const RunJob job = job_of("zerobubble-1.5b-zb-2p-24mb");
  CHECK(job.strategy.schedule == ScheduleKind::ZbH2);
  CHECK_FALSE(has_schedule(*find_software("megatron-core"), ScheduleKind::ZbH2));
  CHECK(has_schedule(job.software, ScheduleKind::ZbH2));
  CHECK(validate(job.strategy, job.model, job.cluster, job.training, job.software).has_value());
}

TEST_CASE("run job: the network keeps its share of a stated rate") {
  Run run = published().run("llama3-405b-8192g-cp1");
  const RunJob full = job_of(run);
  run.hardware.nic = 0.5 * *run.hardware.nic;
  const RunJob half = job_of(run);
  const Level &a = full.cluster.levels.back(), &b = half.cluster.levels.back();
  CHECK(b.usable.value / a.usable.value == Approx(0.5));
  CHECK(b.nominal.value / a.nominal.value == Approx(0.5));
  CHECK(full.cluster.levels.front() == half.cluster.levels.front());
}

TEST_CASE("run job: a LoRA run trains adapters beside frozen weights, of an assumed rank") {
  const RunJob job = job_of("dgxc-v25.04-h100-llama3-70b-lora-bf16-8g");
  CHECK(job.model.lora_rank == 16);
  CHECK(assumes(job, "lora_rank=16"));
  CHECK(job_of("deepseek-v3-isca25-mpft").model.lora_rank == 0);
}

TEST_CASE("run job: torchtitan of 2024 cuts its batch into one micro-batch a pipeline rank") {
  Run run = published().run("torchtitan-405b-512g-1f1b");
  const RunJob early = job_of(run);
  CHECK((early.strategy.micro_batch == 4 && early.strategy.micro_batches == 8));
  CHECK(assumes(early, "micro_batch=4"));
  run.software_date = "2025-06";
  CHECK((job_of(run).strategy.micro_batch == 1 && job_of(run).strategy.micro_batches == 32));
  // Two stages a rank where the table says interleaved alone.
  CHECK(job_of("torchtitan-405b-512g-interleaved1f1b").strategy.vpp == 2);
}

TEST_CASE("run job: what no profile decides makes a run unsupported, with the reason") {
  const Run& whole = published().run("llama3-405b-8192g-cp1");
  Run run = whole;
  run.model.reset();
  CHECK_THAT(reason(run), Catch::Contains("shape"));
  run = whole;
  run.hardware.gpus.reset();
  CHECK_THAT(reason(run), Catch::Contains("GPUs"));
  run = whole;
  run.global_batch.reset();
  CHECK_THAT(reason(run), Catch::Contains("batch"));
  run = whole;
  run.hardware.chip.clear();
  CHECK_THAT(reason(run), Catch::Contains("chip"));
  run = whole;
  run.global_batch = 2047;
  CHECK_THAT(reason(run), Catch::Contains("2047"));
  run = whole;
  run.layout.tp = 3;
  CHECK_THAT(reason(run), Catch::Contains("multiple"));
}

TEST_CASE("run job: Megatron before fused attention is the stack of 2022") {
  CHECK(job_of("nemo-launcher-gpt5b-a100-1n").software.name == "megatron-2022");
  Run run;
  run.software = "nemo";
  run.software_date = "2024-08";
  CHECK(software_family(run).profile == "nemo");
}

TEST_CASE("run job: torchtitan's profile follows its switches") {
  CHECK(job_of("torchtitan-8b-8g-fsdp").software.name == "torchtitan-eager");
  CHECK(job_of("torchtitan-8b-8g-fsdp-compile").software.name == "torchtitan");
  CHECK(job_of("torchtitan-70b-256g-2d-asynctp").software.name == "torchtitan-async-tp");
  CHECK(job_of("torchtitan-8b-8g-fsdp").software.family == "fsdp");
}

TEST_CASE("run job: a PyTorch pipeline reduces at the last micro-batch, so ZeRO-2 is ZeRO-1") {
  const RunJob job = job_of("torchtitan-405b-512g-1f1b");
  CHECK((job.strategy.pp == 8 && job.strategy.zero == 1));
  CHECK(job_of("llmfoundry-h100-3b-s2048-128g-gbs1024-mbs8-amp-bf16").strategy.zero == 2);
}

TEST_CASE("run job: FSDP shards over context-parallel ranks too") {
  const RunJob job = job_of("torchtitan-8b-8g-cp4-128k");
  CHECK((job.strategy.cp == 4 && job.strategy.dp == 2 && job.strategy.dp_shard == 8));
}

TEST_CASE("run job: early Megatron-Core splits experts as the rest, later recipes do not") {
  const RunJob early = job_of("dgxc-v24.11.1-h100-grok1-314b-8l-pretrain-bf16-64g");
  CHECK((early.strategy.tp == 4 && early.strategy.etp == 4 && assumes(early, "etp=4")));
  Run run = published().run("dgxc-v24.11.1-h100-grok1-314b-8l-pretrain-bf16-64g");
  run.software_date = "2025-09";
  CHECK(job_of(run).strategy.etp == 1);
}

TEST_CASE("run job: a chip of another maker does not borrow a node for its equal link rate") {
  // TPU v4 and A100 both have 300 GB/s.
  CHECK(job_of("palm-540b").cluster.node == "tpu-v4");
}

TEST_CASE("run job: an unknown stack is FSDP where the layout is, else Megatron-Core") {
  Run run;
  run.software = "something";
  run.layout.zero = 3;
  CHECK(software_family(run).profile == "fsdp");
  CHECK_FALSE(software_family(run).known);
  run.layout.tp = 8;
  CHECK(software_family(run).profile == "megatron-core");
  run.software = "hai-llm";
  CHECK(software_family(run).known);
}

TEST_CASE("run jobs: stages of Megatron hold the same number of layers") {
  ModelSpec model;
  model.layers = 8;
  model.hidden = 64;
  // The embedding is item 0, the head item 9.
  const StageRuns four = even_stages(model, 4);
  REQUIRE(four.size() == 4);
  CHECK((four[0].first == 0 && four[0].last == 2 && four[1].last == 4));
  CHECK((four[3].first == 7 && four[3].last == 9));
  // 8 layers and both ends over 5 stages: two each.
  const StageRuns five = even_stages(model, 5);
  REQUIRE(five.size() == 5);
  CHECK((five[0].last == 1 && five[1].last == 3 && five[4].first == 8 && five[4].last == 9));
  CHECK(even_stages(model, 3).empty());
  CHECK(job_of("dgxc-v25.04-h100-llama3-70b-pretrain-fp8-64g").stages.size() == 40);
  CHECK(job_of("deepseek-v3-isca25-mpft").stages.empty());
}

TEST_CASE("run jobs: H100 rows that held the layout of GB200 have their own") {
  const Strategy llama = job_of("dgxc-v25.05.01-h100-llama3.1-405b-pretrain-bf16-512g").strategy;
  CHECK((llama.tp == 8 && llama.pp == 8 && llama.cp == 2 && llama.dp == 4));
  const Strategy grok = job_of("dgxc-v25.05.05-h100-grok1-314b-pretrain-fp8-512g").strategy;
  CHECK((grok.tp == 4 && grok.pp == 8 && grok.cp == 2 && grok.ep == 8 && grok.etp == 1));
}

}  // namespace narrows

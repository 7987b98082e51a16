// SPDX-License-Identifier: Apache-2.0
#include "plan/validate.h"

#include <catch2/catch.hpp>
#include <string>

#include "plan/jobs.h"

namespace narrows {
namespace {

// The complaint about the strategy; "" if there is none. `Rule` and words must agree on whether.
std::string complaint(const Strategy& s, const Limits& limits) {
  const Status status = validate(s, limits);
  CHECK(status.has_value() == !broken_rule(s, limits).has_value());
  if (status) return "";
  CHECK(status.error().code == ErrorCode::InvalidInput);
  return status.error().message;
}

Limits v3_limits(const std::string& software = "hai-llm") {
  return limits_of(v3_model(), h800(2048), v3_training(), *find_software(software));
}

// V3's layout with a change.
template <typename Change>
std::string v3(Change change, const std::string& software = "hai-llm") {
  Strategy s = v3_strategy();
  if (software != "hai-llm") {
    s.schedule = ScheduleKind::OneFOneB;
    s.recompute = Recompute::None;
  }
  change(s);
  return complaint(s, v3_limits(software));
}

// A dense model on 16 GPUs: tp 2, pp 2, dp 4, batch 32.
template <typename Change>
std::string dense(Change change, std::int64_t sequence = 2048,
                  const std::string& software = "megatron-core") {
  Strategy s{.tp = 2, .pp = 2, .dp = 4, .micro_batch = 1, .micro_batches = 8};
  change(s);
  const Training training{.sequence = sequence, .global_batch = 32};
  return complaint(s, limits_of(dense_model(), h800(16), training, *find_software(software)));
}

void nothing(Strategy&) {}

}  // namespace

TEST_CASE("rules: the published V3 layout and a plain dense one break none") {
  CHECK(v3(nothing) == "");
  CHECK(v3(nothing, "megatron-core") == "");
  CHECK(dense(nothing) == "");
  CHECK(dense([](Strategy& s) { s.sequence_parallel = true; }) == "");
}

TEST_CASE("rules: tensor parallelism divides heads, KV heads, FFN and shared experts") {
  CHECK(v3([](Strategy& s) { s.tp = 7; }) == "tp=7: 128 attention heads are not divisible by 7");
  CHECK(dense([](Strategy& s) { s.tp = 4; }) ==
        "tp=4: 6 KV heads neither divide 4 nor are divisible by it");
  CHECK(dense([](Strategy& s) {
          s.tp = 12;
          s.pp = 1;
          s.dp = 1;
        }) == "gpus: pp*dp*cp*tp = 1*1*1*12 = 12 is not 16");
  ModelSpec model = dense_model();
  model.ffn = 3001;
  Limits limits = limits_of(model, h800(16), {.sequence = 2048, .global_batch = 32},
                            *find_software("megatron-core"));
  const Strategy s{.tp = 2, .pp = 2, .dp = 4, .micro_batches = 8};
  CHECK(complaint(s, limits) == "tp=2: the FFN's 3001 columns are not divisible by 2");
  limits.ffn = 0;
  limits.shared_ffn = 7;
  CHECK(complaint(s, limits) == "tp=2: the shared experts' 7 columns are not divisible by 2");
  limits.shared_ffn = 0;
  limits.vocab = 1;
  CHECK(complaint(s, limits) == "tp=2: a vocabulary of 1 cannot be split that far");
}

TEST_CASE(
    "rules: a vocabulary that does not divide is padded, and KV heads fewer than tp are "
    "replicated") {
  CHECK(50257 % 2 == 1);
  CHECK(dense(nothing) == "");
  ModelSpec model = dense_model();
  model.attention.kv_heads = 1;
  const Limits limits = limits_of(model, h800(16), {.sequence = 2048, .global_batch = 32},
                                  *find_software("megatron-core"));
  CHECK(complaint({.tp = 4, .pp = 2, .dp = 2, .micro_batches = 16}, limits) == "");
}

TEST_CASE("rules: context parallelism needs software and twice its size in the sequence") {
  CHECK(v3([](Strategy& s) { s.cp = 2; }) == "cp=2: hai-llm has no context parallelism");
  CHECK(dense(
            [](Strategy& s) {
              s.cp = 2;
              s.dp = 2;
            },
            2050) == "cp=2: a sequence of 2,050 tokens is not divisible by 2*cp = 4");
}

TEST_CASE("rules: sequence parallelism needs tp, software and a sequence that divides") {
  CHECK(v3([](Strategy& s) { s.sequence_parallel = true; }) ==
        "sequence_parallel=true: needs tp > 1, found tp=1");
  CHECK(dense(
            [](Strategy& s) {
              s.sequence_parallel = true;
              s.precision = Recipe::Fp16;
            },
            2048, "megatron-2021") ==
        "sequence_parallel=true: megatron-2021 has no sequence parallelism");
  CHECK(dense([](Strategy& s) { s.sequence_parallel = true; }, 2047) ==
        "sequence_parallel=true: a sequence of 2,047 tokens is not divisible by cp*tp = 2");
}

TEST_CASE("rules: expert parallelism needs experts, divides them, and knows folding") {
  CHECK(dense([](Strategy& s) { s.ep = 2; }) == "ep=2: the model has no experts");
  CHECK(dense([](Strategy& s) { s.etp = 2; }) == "etp=2: the model has no experts");
  CHECK(v3([](Strategy& s) { s.ep = 96; }) == "ep=96: 256 experts are not divisible by 96");
  CHECK(v3([](Strategy& s) { s.ep = 256; }) ==
        "ep=256: ep*etp = 256 does not divide the stage's dp*cp*tp = 128 ranks");
  CHECK(v3([](Strategy& s) { s.etp = 2; }) == "etp=2: hai-llm does not split an expert");
  CHECK(v3([](Strategy& s) { s.etp = 3; }, "megatron-core") ==
        "etp=3: an expert's 2048 columns are not divisible by 3");
  // Eight ranks a stage, all of them tp, refolded as ep: valid.
  const Limits limits = limits_of(v3_model(), h800(64), {.sequence = 4096, .global_batch = 64},
                                  *find_software("megatron-core"));
  CHECK(complaint({.tp = 8, .pp = 8, .ep = 8, .micro_batches = 64, .sequence_parallel = true},
                  limits) == "");
}

TEST_CASE("rules: with tp, experts get distinct tokens only under sequence parallelism") {
  CHECK(v3(
            [](Strategy& s) {
              s.tp = 2;
              s.dp = 64;
              s.dp_shard = 64;
              s.micro_batches = 240;
            },
            "megatron-core") ==
        "sequence_parallel=false: with tp=2 the experts (ep=64, etp=1) need sequence parallelism, "
        "else tp ranks send "
        "the same tokens");
  CHECK(v3(
            [](Strategy& s) {
              s.tp = s.etp = 2;
              s.ep = 1;
              s.dp = s.dp_shard = 64;
              s.micro_batches = 240;
            },
            "megatron-core") == "");
}

TEST_CASE("rules: products make the GPUs and the global batch") {
  CHECK(v3([](Strategy& s) { s.dp = 64; }) == "gpus: pp*dp*cp*tp = 16*64*1*1 = 1,024 is not 2,048");
  CHECK(v3([](Strategy& s) { s.micro_batches = 60; }) ==
        "micro_batches=60: a global batch of 15,360 over dp*micro_batch = 128*1 makes 120");
  CHECK(v3([](Strategy& s) { s.micro_batch = 7; }) ==
        "micro_batch=7: a global batch of 15,360 is not divisible by dp*micro_batch = 128*7");
  CHECK(v3([](Strategy& s) {
          s.micro_batch = 2;
          s.micro_batches = 60;
        }) == "");
}

TEST_CASE("rules: products too large for 32 or 64 bits are wrong, not small") {
  const int huge = 1 << 24;
  CHECK(v3([](Strategy& s) { s.dp = s.pp = huge; }) ==
        "gpus: pp*dp*cp*tp = 16777216*16777216*1*1 = 281,474,976,710,656 is not 2,048");
  Limits limits = v3_limits("megatron-core");
  limits.sequence = 1 << 30;
  CHECK(complaint({.pp = huge, .cp = huge, .dp = huge}, limits) ==
        "gpus: pp*dp*cp*tp = 16777216*16777216*16777216*1 is far more than 2,048");
}

TEST_CASE("rules: ZeRO has a stage that the software runs and something to shard over") {
  CHECK(v3([](Strategy& s) { s.zero = 3; }) == "zero=3: hai-llm has 0, 1");
  CHECK(v3([](Strategy& s) { s.dp_shard = 48; }) == "dp_shard=48: does not divide dp*cp = 128");
  CHECK(v3([](Strategy& s) { s.zero = 0; }) ==
        "dp_shard=128: zero=0 shards nothing, so dp_shard must be 1");
  CHECK(v3([](Strategy& s) { s.dp_shard = 1; }) ==
        "zero=1: needs dp_shard > 1 to shard over, found dp_shard=1 of dp*cp = 128");
  Limits limits = v3_limits("megatron-core");
  limits.gpus = 96;
  limits.global_batch = 96;
  CHECK(complaint({.ep = 32, .dp = 96, .dp_shard = 48, .zero = 1}, limits) ==
        "dp_shard=48: neither of dp_shard*tp = 48 and ep*etp = 32 divides the other");
}

TEST_CASE("rules: a schedule must be the software's and fit the pipeline") {
  CHECK(v3([](Strategy& s) { s.schedule = ScheduleKind::GPipe; }) ==
        "schedule=gpipe: hai-llm does not run it");
  const auto alone = [](ScheduleKind schedule) {
    return dense(
        [&](Strategy& s) {
          s.pp = 1;
          s.dp = 8;
          s.micro_batches = 4;
          s.schedule = schedule;
          s.precision = Recipe::F32;
        },
        2048, "narrows");
  };
  CHECK(alone(ScheduleKind::OneFOneB) == "");
  CHECK(alone(ScheduleKind::GPipe) == "schedule=gpipe: one pipeline rank (pp=1) runs 1f1b only");
  CHECK(alone(ScheduleKind::DualPipe) == "schedule=dualpipe: needs pp >= 2, found pp=1");
  CHECK(alone(ScheduleKind::Interleaved) == "schedule=interleaved: needs pp >= 2, found pp=1");
}

TEST_CASE("rules: only the interleaved schedule has chunks to choose") {
  CHECK(v3([](Strategy& s) { s.vpp = 2; }) ==
        "vpp=2: schedule dualpipe has vpp=1; only interleaved has more");
  const auto interleaved = [](int vpp, std::int64_t micro_batches, int pp = 2) {
    return dense([&](Strategy& s) {
      s.schedule = ScheduleKind::Interleaved;
      s.vpp = vpp;
      s.pp = pp;
      s.dp = 8 / pp;
      s.micro_batch = static_cast<int>(32 / s.dp / micro_batches);
      s.micro_batches = micro_batches;
    });
  };
  CHECK(interleaved(2, 8) == "");
  CHECK(interleaved(1, 8) == "vpp=1: schedule interleaved needs vpp >= 2");
  CHECK(interleaved(5, 8) == "");
  CHECK(interleaved(6, 8) ==
        "pp=2: 12 stages for a model of 10 items (embedding, layers, MTP blocks, head)");
  CHECK(interleaved(200, 8) == "vpp=200: megatron-core has at most 128 chunks a rank");
  CHECK(interleaved(2, 1) == "micro_batches=1: schedule interleaved needs a multiple of pp=2");
}

TEST_CASE("rules: DualPipe needs even ranks and enough micro-batches, even in number") {
  const auto dual = [](int gpus, int pp, std::int64_t micro_batches,
                       ScheduleKind schedule = ScheduleKind::DualPipe) {
    const Training training{.sequence = 4096, .global_batch = micro_batches * (gpus / pp)};
    const Limits limits = limits_of(v3_model(), h800(gpus), training, *find_software("hai-llm"));
    return complaint(
        {.pp = pp, .dp = gpus / pp, .micro_batches = micro_batches, .schedule = schedule}, limits);
  };
  CHECK(dual(24, 3, 12) == "pp=3: schedule dualpipe needs an even pp");
  CHECK(dual(32, 4, 9) == "micro_batches=9: schedule dualpipe needs an even number");
  CHECK(dual(32, 4, 6) == "micro_batches=6: schedule dualpipe needs at least 2*pp = 8");
  CHECK(dual(32, 4, 8) == "");
  CHECK(dual(32, 4, 7, ScheduleKind::DualPipeV) ==
        "micro_batches=7: schedule dualpipev needs at least 2*pp = 8");
  CHECK(dual(24, 3, 7, ScheduleKind::DualPipeV) == "");
}

TEST_CASE("rules: a recipe needs the software and the chip") {
  CHECK(v3([](Strategy& s) { s.precision = Recipe::Mxfp8; }) ==
        "precision=mxfp8: hai-llm does not run it");
  CHECK(v3([](Strategy& s) { s.precision = Recipe::Mxfp8; }, "megatron-core") ==
        "precision=mxfp8: h800-sxm5 has no block-scaled fp8");
  CHECK(v3([](Strategy& s) { s.precision = Recipe::Nvfp4; }, "megatron-core") ==
        "precision=nvfp4: h800-sxm5 has no fp4 peak");
  Cluster cpu = h800(16);
  cpu.chip.name = "cpu";
  cpu.chip.peak.erase("fp8");
  const Training training{.sequence = 2048, .global_batch = 32};
  const Strategy fp8{.tp = 2, .pp = 2, .dp = 4, .micro_batches = 8, .precision = Recipe::Fp8Block};
  CHECK(validate(fp8, dense_model(), cpu, training, *find_software("megatron-core"))
            .error()
            .message == "precision=fp8-block: cpu has no fp8 peak");
  CHECK(validate(fp8, dense_model(), cpu, training, *find_software("narrows"))
            .has_value());  // emulated
}

TEST_CASE("rules: a recompute class needs the software, and V3's needs MLA") {
  CHECK(dense([](Strategy& s) { s.recompute = Recompute::V3; }) ==
        "recompute=v3: needs multi-head latent attention, whose up-projections it recomputes");
  CHECK(dense(
            [](Strategy& s) {
              s.recompute = Recompute::Selective;
              s.precision = Recipe::Fp16;
            },
            2048, "megatron-2021") == "recompute=selective: megatron-2021 does not run it");
}

TEST_CASE("rules: sizes are positive") {
  CHECK(v3([](Strategy& s) { s.dp = 0; }) == "dp=0: must be at least 1");
  CHECK(v3([](Strategy& s) { s.micro_batches = -1; }) == "micro_batches=-1: must be at least 1");
  CHECK(v3([](Strategy& s) { s.zero = 4; }) == "zero=4: must be 0, 1, 2 or 3");
}

TEST_CASE("rules: each has words of its own") {
  std::vector<std::string> words;
  for (int rule = 1; rule < kRules; ++rule) {
    words.push_back(explain(static_cast<Rule>(rule), v3_strategy(), v3_limits()));
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(words[i] != words[j]);
  }
}

}  // namespace narrows

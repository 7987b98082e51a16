// Jobs that the plan tests speak about: DeepSeek-V3 as published, on its cluster, and a small one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "model/builtin.h"
#include "plan/plan.h"
#include "plan/validate.h"
#include "software/library.h"

namespace narrows {

inline ModelSpec v3_model() { return builtin_model("deepseek-v3")->spec; }

// A dense model of 8 layers, 12 heads, 6 KV heads.
inline ModelSpec dense_model() {
  ModelSpec model;
  model.name = "dense";
  model.layers = 8;
  model.hidden = 768;
  model.ffn = 3072;
  model.vocab = 50257;
  model.max_positions = 4096;
  model.attention = {.kind = AttentionKind::Gqa, .heads = 12, .kv_heads = 6, .head_dim = 64};
  return model;
}

inline Chip hopper() {
  Chip chip;
  chip.name = "h800-sxm5";
  chip.title = "H800 SXM5";
  chip.vendor = "NVIDIA";
  chip.architecture = "hopper";
  for (const auto& [format, tflops] :
       {std::pair{"fp32", 66.9}, {"fp16", 989.4}, {"bf16", 989.4}, {"fp8", 1978.9}}) {
    chip.peak[format] = {tflops * TFLOP / sec, "data sheet", ""};
  }
  chip.memory = {80 * GB, "data sheet", ""};
  chip.memory_reported = {84943110144.0 * byte, "trace header", ""};
  chip.memory_bandwidth = {3.35 * TB / sec, "data sheet", ""};
  return chip;
}

inline Cluster h800(int gpus) {
  Cluster cluster;
  cluster.name = "h800-test";
  cluster.node = "h800";
  cluster.gpus = gpus;
  cluster.chip = hopper();
  for (const auto& [name, group, rate] :
       {std::tuple{"nvlink", 8, 200.0}, {"infiniband", gpus, 50.0}}) {
    Level level;
    level.name = name;
    level.group = group;
    level.nominal = {rate * GB / sec, "data sheet", ""};
    level.usable = {0.8 * rate * GB / sec, "test", ""};
    level.latency = {3 * us, "test", ""};
    level.forwarded = {0.7 * rate * GB / sec, "test", ""};
    cluster.levels.push_back(level);
  }
  return cluster;
}

inline Strategy v3_strategy() {
  return {.pp = 16,
          .ep = 64,
          .dp = 128,
          .dp_shard = 128,
          .zero = 1,
          .micro_batch = 1,
          .micro_batches = 120,
          .schedule = ScheduleKind::DualPipe,
          .precision = Recipe::Fp8Block,
          .recompute = Recompute::V3};
}

inline Training v3_training() {
  return {.sequence = 4096, .global_batch = 15360, .tokens = 14'800'000'000'000};
}

// V3 as published; 64 items over 16 stages, four each.
inline Plan v3_plan() {
  Plan plan;
  plan.model = v3_model();
  plan.cluster = h800(2048);
  plan.software = *find_software("hai-llm");
  plan.training = v3_training();
  plan.strategy = v3_strategy();
  plan.comm.ep = "deepep";
  std::vector<Chunk> chunks;
  for (int stage = 0; stage < 16; ++stage)
    chunks.push_back({4 * stage, 4 * stage + 3, Recompute::V3});
  plan.stages = stages_from(plan.strategy, chunks);
  return plan;
}

}  // namespace narrows

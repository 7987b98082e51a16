// DeepSeek-V3 on H800 under its own stack, on any number of GPUs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/timing.h"
#include "hardware/profile_library.h"
#include "measurement/kernel_tables.h"
#include "model/builtin.h"
#include "planner/leaf.h"
#include "planner/search.h"
#include "software/library.h"

namespace narrows {

// Owns what a Job borrows. Not movable.
struct V3Job {
  ModelSpec model;
  Cluster cluster;
  SoftwareProfile software;
  KernelTimes kernels;
  GroupCounts counts;
  Job job;

  // A step's batch grows with the GPUs, so that a pipeline sees the same 120 micro-batches.
  explicit V3Job(int gpus)
      : model(needed(builtin_model("deepseek-v3")).spec),
        cluster(needed(needed(ProfileLibrary::open({})).cluster("h800:" + std::to_string(gpus)))),
        software(needed(find_software("hai-llm"))),
        kernels(needed(KernelTables::published()), cluster.chip, software),
        counts(routed_groups(model)),
        job{model,
            cluster,
            software,
            {.sequence = 4096, .global_batch = std::int64_t{15360} * gpus / 2048},
            {}} {}
  V3Job(const V3Job&) = delete;
  V3Job& operator=(const V3Job&) = delete;

  // As it was trained: 16 stages of DualPipe, 64-way experts.
  Strategy trained() const {
    return {.pp = 16,
            .ep = 64,
            .dp = cluster.gpus / 16,
            .dp_shard = cluster.gpus / 16,
            .zero = 1,
            .micro_batches = 120,
            .schedule = ScheduleKind::DualPipe,
            .precision = Recipe::Fp8Block,
            .recompute = Recompute::V3};
  }
};

}  // namespace narrows

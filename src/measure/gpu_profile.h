// `narrows profile --device cuda`: the ops of a model's op graph on a GPU, in the words of the
// store. The cases are those of op_case.h (shapes.h finds them); what a GPU runs for each is
// GpuWork. Every row's time is that of its kernels by CUPTI where it runs, else between events; of
// what moves memory its bytes are the least that the kernel must move, in bf16.
//
// Cases come in a fixed random order, so that whatever the budget cuts off is spread over all of
// them. What cuBLASLt or our kernels refuse is counted by its reason and goes on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "measure/bench.h"
#include "measure/op_case.h"
#include "measurement/observation.h"
#include "runtime/gpu_work.h"

namespace narrows {

struct GpuCase {
  Measurement what;  // without chip, source and time
  GpuWork work;
};

// The case on a GPU; nothing for what is no op of its own there (the runtime's packing).
std::optional<GpuCase> gpu_case(const OpCase& c);

struct GpuProfileOptions {
  Seconds budget = 60 * sec;
  GpuRules rules;
  std::vector<OpCase> cases;
  std::set<std::string> known;  // key_of what is left out
  std::function<Seconds()> now;
  const std::atomic<bool>* stop = nullptr;  // borrows
};

struct GpuProfileEvents {
  std::function<void(const BenchProgress& progress)> progress;
  std::function<Status(const KernelObservation& kernel)> kernel;
};

struct GpuProfileSummary {
  int cases = 0;                       // that are distinct
  int known = 0;                       // … left out
  int measured = 0;                    // … in this run
  std::map<std::string, int> refused;  // by reason
  bool by_events = false;              // CUPTI did not run
  Seconds elapsed;
};

// Device if the GPU no longer answers.
Result<GpuProfileSummary> profile_gpu(Gpu& gpu, const GpuProfileOptions& options,
                                      const GpuProfileEvents& events);

// The fingerprint of rows of this device, now. `chip` as profiles name it.
Machine fingerprint_of(const gpu::DeviceInfo& device, const std::string& chip);

}  // namespace narrows

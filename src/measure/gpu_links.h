// `narrows profile --device cuda`: the links of this machine's GPUs, in the words of the store. A
// thread and a Gpu a device, in one process: copies between host and device and within a device,
// all devices at once; then, of two and more GPUs, NCCL's collectives and messages by size, in
// groups of every size that divides their number, all groups at once, as those of a layout talk. A
// collective's time is the slowest rank's, a copy's the mean over the devices.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <set>
#include <string>

#include "measure/bench.h"
#include "measurement/observation.h"
#include "runtime/gpu_module.h"

namespace narrows {

struct GpuLinkOptions {
  SampleRules rules;  // its budget is that of all links
  Bytes largest = 256 * MiB;
  std::set<std::string> known;  // link_key of what is left out
  std::function<Seconds()> now;
  const std::atomic<bool>* stop = nullptr;  // borrows
};

struct GpuLinkEvents {
  // Called on the first device's thread.
  std::function<void(const BenchProgress& progress)> progress;
  std::function<Status(const LinkObservation& link)> link;
  // A device hangs and its thread with it: the process must end here (std::_Exit).
  std::function<void(const Error& error)> broken;
};

struct GpuLinkSummary {
  int gpus = 0;
  int cases = 0;
  int known = 0;               // … left out
  int measured = 0;            // … in this run
  std::string no_collectives;  // why there are none; "" = there are
  Seconds elapsed;
};

// Device if a GPU no longer answers.
Result<GpuLinkSummary> profile_gpu_links(const gpu::Api& api, const GpuLinkOptions& options,
                                         const GpuLinkEvents& events);

}  // namespace narrows

// The device's own clock: when each kernel and copy began and ended, from CUPTI's activity records
// (nvidia's profiling interface). While it is on, every launch costs the host a microsecond or so
// more; kernels themselves are not slowed. It cannot be on beside another profiler.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/context.cuh"

namespace narrows::gpu {

// Nanoseconds of CUPTI's clock.
struct KernelRecord {
  std::uint64_t begin = 0, end = 0;
  std::string name;
};

// Opens CUPTI when first called, and records from here on.
Code begin_records(Context& context);
// What has been recorded, in order of begin; records no more. The stream must have been waited for.
Code end_records(Context& context, std::vector<KernelRecord>& out);
// Now, by the same clock.
std::uint64_t record_time(const Context& context);

}  // namespace narrows::gpu

// An op under two clocks: CUDA events around it, and CUPTI's records of its kernels
// (kernel_clock.cuh).
//
// Before each sample the scratch memory is filled, for the device to be busy while the host starts
// what follows: so the events see no gap of the host's, and nothing of the op's inputs is left in
// the cache. Each sample is waited for, so that the records between two readings of CUPTI's clock
// are its own. Events stand some microseconds apart with nothing between them; kernels' own times
// have no such share.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/kernel_clock.cuh"

namespace narrows::gpu {
namespace {

struct Window {
  std::uint64_t begin, end;
};

// A pair of events, destroyed with it.
class Events {
 public:
  Events() {
    cudaEventCreate(&before);
    cudaEventCreate(&behind);
  }
  ~Events() {
    cudaEventDestroy(before);
    cudaEventDestroy(behind);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  cudaEvent_t before = nullptr, behind = nullptr;
};

Code device_code(Context& context, cudaError_t error) {
  if (error == cudaSuccess) return Code::Ok;
  return refuse(context, Code::Device, "timing: %s", cudaGetErrorString(error));
}

Code time_once(Context& context, const Timing& timing, const void* op, const Events& events,
               double* seconds) {
  const cudaStream_t stream = static_cast<cudaStream_t>(context.stream);
  cudaMemsetAsync(context.workspace, 0, static_cast<std::size_t>(context.workspace_bytes), stream);
  cudaEventRecord(events.before, stream);
  const Code code = run_verb(context, timing.verb, op, timing.op_bytes);
  if (code != Code::Ok) return code;
  cudaEventRecord(events.behind, stream);
  const Code waited = device_code(context, cudaEventSynchronize(events.behind));
  if (waited != Code::Ok) return waited;
  float milliseconds = 0;
  cudaEventElapsedTime(&milliseconds, events.before, events.behind);
  *seconds = static_cast<double>(milliseconds) * 1e-3;
  return Code::Ok;
}

// What the records say of one sample.
void summarise(const std::vector<KernelRecord>& records, const Window& window, Sample& out) {
  std::uint64_t first = 0, last = 0, busy = 0, longest = 0;
  for (const KernelRecord& r : records) {
    if (r.begin < window.begin || r.begin >= window.end) continue;
    if (out.kernels++ == 0) first = r.begin;
    last = std::max(last, r.end);
    busy += r.end - r.begin;
    if (r.end - r.begin <= longest) continue;
    longest = r.end - r.begin;
    std::snprintf(out.kernel, sizeof out.kernel, "%s", r.name.c_str());
  }
  out.span = static_cast<double>(last - first) * 1e-9;
  out.busy = static_cast<double>(busy) * 1e-9;
}

Code take_samples(Context& context, const Timing& timing, std::vector<Window>& windows) {
  const Events events;
  for (int i = 0; i < timing.warm + timing.samples; ++i) {
    const void* op = timing.ops[i % timing.variants];
    const int sample = i - timing.warm;
    double seconds = 0;
    const std::uint64_t begin = timing.cupti ? record_time(context) : 0;
    const Code code = time_once(context, timing, op, events, &seconds);
    if (code != Code::Ok) return code;
    if (sample < 0) continue;
    timing.out[sample] = {};
    timing.out[sample].events = seconds;
    windows.push_back({begin, timing.cupti ? record_time(context) : 0});
  }
  return Code::Ok;
}

}  // namespace

Code time_op(Context& context, const Timing& timing) {
  if (timing.variants < 1 || timing.samples < 1 || timing.warm < 0) {
    return refuse(context, Code::Invalid, "timing: expected inputs and samples, found %d and %d",
                  timing.variants, timing.samples);
  }
  if (timing.cupti) {
    const Code on = begin_records(context);
    if (on != Code::Ok) return on;
  }
  std::vector<Window> windows;
  const Code taken = take_samples(context, timing, windows);
  if (!timing.cupti) return taken;
  std::vector<KernelRecord> records;
  const Code fetched = end_records(context, records);
  if (taken != Code::Ok) return taken;
  for (std::size_t i = 0; i < windows.size(); ++i) summarise(records, windows[i], timing.out[i]);
  return fetched;
}

}  // namespace narrows::gpu

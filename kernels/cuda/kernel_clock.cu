// SPDX-License-Identifier: Apache-2.0
#include <cupti.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "kernels/cuda/kernel_clock.cuh"
#include "kernels/cuda/libraries.cuh"

namespace narrows::gpu {

struct KernelClock {
  SharedLibrary library;
  char version[32] = "";
  decltype(&cuptiGetVersion) get_version;
  decltype(&cuptiGetResultString) word_for;
  decltype(&cuptiGetTimestamp) timestamp;
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks;
  decltype(&cuptiActivityEnable) enable;
  decltype(&cuptiActivityDisable) disable;
  decltype(&cuptiActivityFlushAll) flush;
  decltype(&cuptiActivityGetNextRecord) next;
};

namespace {

constexpr std::size_t kBufferBytes = 4 << 20;
constexpr CUpti_ActivityKind kKinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                         CUPTI_ACTIVITY_KIND_MEMCPY};

// CUPTI's callbacks carry nothing of ours, so that what they fill must stand alone: one for the
// process.
struct Arrivals {
  std::mutex guard;
  std::vector<KernelRecord> records;
  decltype(&cuptiActivityGetNextRecord) next = nullptr;
};
Arrivals& arrivals() {
  static Arrivals all;
  return all;
}

void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *bytes = *buffer == nullptr ? 0 : kBufferBytes;
  *most_records = 0;
}

void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                          std::size_t valid) {
  Arrivals& to = arrivals();
  const std::lock_guard<std::mutex> lock(to.guard);
  CUpti_Activity* record = nullptr;
  while (to.next(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const auto* kernel = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
      to.records.push_back(
          {kernel->start, kernel->end, kernel->name == nullptr ? "" : kernel->name});
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
      const auto* copy = reinterpret_cast<const CUpti_ActivityMemcpy6*>(record);
      to.records.push_back({copy->start, copy->end, "copy"});
    }
  }
  std::free(buffer);
}

bool bind_all(Context& context, KernelClock& c) {
  const SharedLibrary& from = c.library;
  return from.bind(context, c.get_version, "cuptiGetVersion") &&
         from.bind(context, c.word_for, "cuptiGetResultString") &&
         from.bind(context, c.timestamp, "cuptiGetTimestamp") &&
         from.bind(context, c.register_callbacks, "cuptiActivityRegisterCallbacks") &&
         from.bind(context, c.enable, "cuptiActivityEnable") &&
         from.bind(context, c.disable, "cuptiActivityDisable") &&
         from.bind(context, c.flush, "cuptiActivityFlushAll") &&
         from.bind(context, c.next, "cuptiActivityGetNextRecord");
}

Code verdict(Context& context, const KernelClock& c, CUptiResult result, const char* doing) {
  if (result == CUPTI_SUCCESS) return Code::Ok;
  const char* word = nullptr;
  c.word_for(result, &word);
  return refuse(context, Code::Unsupported, "%s: %s: %s", c.version, doing,
                word == nullptr ? "?" : word);
}

Code open_clock(Context& context, KernelClock*& out) {
  out = context.libraries->clock;
  if (out != nullptr) return Code::Ok;
  KernelClock* c = new KernelClock;
  if (!c->library.open(context, "kernel times", {"libcupti.so.13", "libcupti.so"}) ||
      !bind_all(context, *c)) {
    delete c;
    return Code::Unsupported;
  }
  std::uint32_t version = 0;
  c->get_version(&version);
  std::snprintf(c->version, sizeof c->version, "cupti %u.%u", version / 10000, version / 100 % 100);
  arrivals().next = c->next;
  const Code ready =
      verdict(context, *c, c->register_callbacks(give_buffer, take_buffer), "its buffers");
  if (ready != Code::Ok) {
    delete c;
    return ready;
  }
  out = context.libraries->clock = c;
  return Code::Ok;
}

}  // namespace

void release(KernelClock* c) { delete c; }
const char* version_of(const KernelClock* c) { return c == nullptr ? "" : c->version; }

Code begin_records(Context& context) {
  KernelClock* c = nullptr;
  const Code opened = open_clock(context, c);
  if (opened != Code::Ok) return opened;
  for (const CUpti_ActivityKind kind : kKinds) {
    const Code on = verdict(context, *c, c->enable(kind), "kernel records");
    if (on != Code::Ok) return on;
  }
  return Code::Ok;
}

Code end_records(Context& context, std::vector<KernelRecord>& out) {
  const KernelClock& c = *context.libraries->clock;
  const Code flushed = verdict(context, c, c.flush(1), "fetching records");
  for (const CUpti_ActivityKind kind : kKinds) c.disable(kind);
  Arrivals& from = arrivals();
  const std::lock_guard<std::mutex> lock(from.guard);
  out.clear();
  out.swap(from.records);
  std::sort(out.begin(), out.end(), [](const KernelRecord& a, const KernelRecord& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  return flushed;
}

std::uint64_t record_time(const Context& context) {
  std::uint64_t now = 0;
  context.libraries->clock->timestamp(&now);
  return now;
}

}  // namespace narrows::gpu

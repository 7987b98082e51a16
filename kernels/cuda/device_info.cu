// What the device is, and how it feels: clocks, power and why clocks are held down come from the
// driver's management library, where it can be opened; its few functions are declared here, since
// the toolkit need not have its header.
// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/cuda/libraries.cuh"

namespace narrows::gpu {
namespace {

// The management library's own numbers.
constexpr int kMultiprocessorClock = 1, kMemoryClock = 2;

struct Manager {
  SharedLibrary library;
  int (*init)();
  int (*driver)(char*, unsigned);
  int (*by_bus)(const char*, void**);
  int (*clock)(void*, int, unsigned*);
  int (*most_clock)(void*, int, unsigned*);
  int (*power)(void*, unsigned*);
  int (*power_limit)(void*, unsigned*);
  int (*temperature)(void*, int, unsigned*);
  int (*throttled)(void*, unsigned long long*);
};

bool open_manager(Context& context, Manager& m) {
  const SharedLibrary& from = m.library;
  return m.library.open(context, "clocks", {"libnvidia-ml.so.1"}) &&
         from.bind(context, m.init, "nvmlInit_v2") &&
         from.bind(context, m.driver, "nvmlSystemGetDriverVersion") &&
         from.bind(context, m.by_bus, "nvmlDeviceGetHandleByPciBusId_v2") &&
         from.bind(context, m.clock, "nvmlDeviceGetClockInfo") &&
         from.bind(context, m.most_clock, "nvmlDeviceGetMaxClockInfo") &&
         from.bind(context, m.power, "nvmlDeviceGetPowerUsage") &&
         from.bind(context, m.power_limit, "nvmlDeviceGetEnforcedPowerLimit") &&
         from.bind(context, m.temperature, "nvmlDeviceGetTemperature") &&
         from.bind(context, m.throttled, "nvmlDeviceGetCurrentClocksThrottleReasons") &&
         m.init() == 0;
}

struct Reason {
  unsigned long long bit;
  const char* word;
};
// Idle and the user's own clock settings are left out: they hold nothing down under load.
constexpr Reason kReasons[] = {{0x4, "power cap"},         {0x8, "hardware slowdown"},
                               {0x10, "sync boost"},       {0x20, "thermal"},
                               {0x40, "hardware thermal"}, {0x80, "power brake"},
                               {0x2, "application clocks"}};

void append(char* to, std::size_t size, const char* word) {
  const std::size_t used = std::strlen(to);
  std::snprintf(to + used, size - used, "%s%s", used == 0 ? "" : ", ", word);
}

void ask_manager(const Manager& m, DeviceInfo& out) {
  m.driver(out.driver, sizeof out.driver);
  void* device = nullptr;
  if (m.by_bus(out.bus, &device) != 0) return;
  unsigned value = 0;
  if (m.clock(device, kMultiprocessorClock, &value) == 0) out.clock = value * 1e6;
  if (m.clock(device, kMemoryClock, &value) == 0) out.memory_clock = value * 1e6;
  if (m.most_clock(device, kMultiprocessorClock, &value) == 0) out.clock_most = value * 1e6;
  if (m.most_clock(device, kMemoryClock, &value) == 0) out.memory_clock_most = value * 1e6;
  if (m.power(device, &value) == 0) out.power = value * 1e-3;
  if (m.power_limit(device, &value) == 0) out.power_limit = value * 1e-3;
  if (m.temperature(device, 0, &value) == 0) out.temperature = value;
  unsigned long long reasons = 0;
  if (m.throttled(device, &reasons) != 0) return;
  for (const Reason& r : kReasons) {
    if ((reasons & r.bit) != 0) append(out.throttled, sizeof out.throttled, r.word);
  }
}

void name_libraries(const Context& context, DeviceInfo& out) {
  int runtime = 0;
  cudaRuntimeGetVersion(&runtime);
  std::snprintf(out.libraries, sizeof out.libraries, "cuda %d.%d", runtime / 1000,
                runtime / 10 % 100);
  for (const char* word :
       {version_of(context.libraries->matmul), version_of(context.libraries->collective),
        version_of(context.libraries->clock)}) {
    if (word[0] != '\0') append(out.libraries, sizeof out.libraries, word);
  }
}

}  // namespace

Code describe_device(Context& context, DeviceInfo& out) {
  out = {};
  cudaDeviceProp properties;
  const cudaError_t asked = cudaGetDeviceProperties(&properties, context.device);
  if (asked != cudaSuccess) return refuse(context, Code::Device, "%s", cudaGetErrorString(asked));
  std::snprintf(out.name, sizeof out.name, "%.*s", static_cast<int>(sizeof out.name) - 1,
                properties.name);
  cudaGetDeviceCount(&out.devices);
  cudaDeviceGetPCIBusId(out.bus, sizeof out.bus, context.device);
  out.major = properties.major;
  out.minor = properties.minor;
  out.multiprocessors = properties.multiProcessorCount;
  out.l2 = properties.l2CacheSize;
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  out.memory = static_cast<std::int64_t>(total);
  out.memory_free = static_cast<std::int64_t>(free);
  Manager manager;
  if (open_manager(context, manager)) ask_manager(manager, out);
  name_libraries(context, out);
  return Code::Ok;
}

}  // namespace narrows::gpu

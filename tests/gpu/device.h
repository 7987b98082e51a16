// What the tests of our CUDA kernels run on: the emulation, with a block's threads in order and in
// reverse, and the machine's GPU where it has one. Values are floats on the host and f32 or bf16 on
// the device; results begin as not-a-number.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "runtime/gpu_module.h"

namespace narrows::test {

struct Values {
  gpu::Type type = gpu::Type::F32;
  std::int64_t count = 0;
  GpuMemory memory;
  void* data() const { return memory.data(); }
  float* floats() const { return memory.as<float>(); }
};

class Device {
 public:
  Device(const char* name, Gpu gpu) : name_(name), gpu_(std::move(gpu)) {}

  Gpu& gpu() { return gpu_; }
  const std::string& name() const { return name_; }
  // Small shapes only: on the emulation, and where NARROWS_GPU_SMALL is set (compute-sanitizer).
  bool is_small() const;

  Values values(gpu::Type type, const std::vector<float>& from);
  Values result(gpu::Type type, std::int64_t count);
  std::vector<float> read(const Values& values);

  GpuMemory bytes(const void* from, std::int64_t size);
  GpuMemory poisoned(std::int64_t size);
  template <typename T>
  GpuMemory array(const std::vector<T>& from) {
    return bytes(from.data(), std::ssize(from) * static_cast<std::int64_t>(sizeof(T)));
  }
  template <typename T>
  std::vector<T> read_array(const GpuMemory& from, std::int64_t count) {
    std::vector<T> out(static_cast<std::size_t>(count));
    need(from.to_host(out.data(), count * static_cast<std::int64_t>(sizeof(T))));
    return out;
  }

  // Runs the op and waits for it; what it says becomes a failed test.
  template <typename Op>
  void run(const Op& op) {
    need(gpu_.run(op));
    need(gpu_.wait());
  }
  static void need(const Status& status);

 private:
  std::string name_;
  Gpu gpu_;
};

// `test` on the emulation, twice, and on the GPU where there is one; with NARROWS_GPU_ONLY set,
// there alone.
void on_each_device(const std::function<void(Device&)>& test);
// `test` on the GPU; without one a line "skipped: no GPU: why" on stdout.
void on_gpu(const std::function<void(Device&)>& test);

std::vector<float> random_floats(std::int64_t count, Random& random, float range = 1);
// Rounded to what the type holds.
std::vector<float> rounded(gpu::Type type, std::vector<float> x);
// |x - y| / |y| over all elements; infinite where one is not a number.
double distance(const std::vector<float>& x, const std::vector<float>& y);
// What a kernel in that type may be away from the reference.
inline double tolerance(gpu::Type type) { return type == gpu::Type::F32 ? 1e-5 : 1e-2; }

inline constexpr gpu::Type kTypes[] = {gpu::Type::F32, gpu::Type::Bf16};
const char* word(gpu::Type type);

}  // namespace narrows::test

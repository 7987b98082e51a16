// SPDX-License-Identifier: Apache-2.0
#include "gpu/device.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>

#include "gpu/emulated_module.h"
#include "kernels/bf16.h"

namespace narrows::test {
namespace {

Device emulated(const char* name) {
  Result<Gpu> gpu = Gpu::open(gpu::emulated_api());
  REQUIRE(gpu.has_value());
  return Device(name, std::move(*gpu));
}

Result<Gpu> real() {
  const gpu::Api* api = TRY(load_gpu_module());
  TRY(count_gpus(*api));
  return Gpu::open(*api);
}

// Where only the GPU is to be tested, none is a failure.
bool only_gpu() { return std::getenv("NARROWS_GPU_ONLY") != nullptr; }
void must_not_be_asked_for(const Error& missing) {
  if (only_gpu()) FAIL(missing.message);
}

std::vector<std::uint16_t> narrowed(const std::vector<float>& x) {
  std::vector<std::uint16_t> bits(x.size());
  kernels::to_bf16(x.data(), std::ssize(x), std::ssize(x), bits.data(), 0, 1);
  return bits;
}
std::vector<float> widened(const std::vector<std::uint16_t>& bits) {
  std::vector<float> x(bits.size());
  kernels::from_bf16(bits.data(), x.data(), std::ssize(bits));
  return x;
}

}  // namespace

bool Device::is_small() const {
  return name_.rfind("emulated", 0) == 0 || std::getenv("NARROWS_GPU_SMALL") != nullptr;
}

void Device::need(const Status& status) {
  if (!status.has_value()) FAIL(status.error().message);
}

GpuMemory Device::poisoned(std::int64_t size) {
  Result<GpuMemory> memory = GpuMemory::allocate(gpu_, size);
  if (!memory.has_value()) FAIL(memory.error().message);
  need(memory->fill(0xff));
  return std::move(*memory);
}

GpuMemory Device::bytes(const void* from, std::int64_t size) {
  GpuMemory memory = poisoned(size);
  need(memory.from_host(from, size));
  return memory;
}

Values Device::result(gpu::Type type, std::int64_t count) {
  return {type, count, poisoned(count * (type == gpu::Type::F32 ? 4 : 2))};
}

Values Device::values(gpu::Type type, const std::vector<float>& from) {
  Values out = result(type, std::ssize(from));
  const std::vector<std::uint16_t> bits = narrowed(from);
  const void* source = from.data();
  if (type == gpu::Type::Bf16) source = bits.data();
  need(out.memory.from_host(source, out.memory.bytes()));
  return out;
}

std::vector<float> Device::read(const Values& values) {
  if (values.type == gpu::Type::F32) return read_array<float>(values.memory, values.count);
  return widened(read_array<std::uint16_t>(values.memory, values.count));
}

void on_each_device(const std::function<void(Device&)>& test) {
  for (const bool backwards : {false, true}) {
    if (only_gpu()) break;
    gpu::emulate_backwards(backwards);
    Device device = emulated(backwards ? "emulated, threads in reverse" : "emulated");
    INFO(device.name());
    test(device);
  }
  Result<Gpu> gpu = real();
  if (!gpu.has_value()) return must_not_be_asked_for(gpu.error());
  Device device("gpu", std::move(*gpu));
  INFO(device.name());
  test(device);
}

void on_gpu(const std::function<void(Device&)>& test) {
  Result<Gpu> gpu = real();
  if (!gpu.has_value()) {
    must_not_be_asked_for(gpu.error());
    std::cout << "skipped: no GPU: " << gpu.error().message << "\n";
    return;
  }
  Device device("gpu", std::move(*gpu));
  test(device);
}

std::vector<float> random_floats(std::int64_t count, Random& random, float range) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& v : x) v = range * static_cast<float>(2 * random.uniform() - 1);
  return x;
}

std::vector<float> rounded(gpu::Type type, std::vector<float> x) {
  return type == gpu::Type::F32 ? x : widened(narrowed(x));
}

double distance(const std::vector<float>& x, const std::vector<float>& y) {
  REQUIRE(x.size() == y.size());
  double off = 0, whole = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i])) return std::numeric_limits<double>::infinity();
    off += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
    whole += double{y[i]} * y[i];
  }
  return std::sqrt(off / std::max(whole, 1e-30));
}

const char* word(gpu::Type type) { return type == gpu::Type::F32 ? "f32" : "bf16"; }

}  // namespace narrows::test

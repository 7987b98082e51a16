// What only a GPU can show: its clocks, copies and NCCL; and what a machine without one says.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>

#include "gpu/device.h"

namespace narrows::test {
namespace {

double median(std::vector<gpu::Sample> samples, double gpu::Sample::*field) {
  std::sort(samples.begin(), samples.end(),
            [&](const gpu::Sample& a, const gpu::Sample& b) { return a.*field < b.*field; });
  return samples[samples.size() / 2].*field;
}

std::vector<gpu::Sample> timed(Device& d, const gpu::Add& op, int samples) {
  Result<std::vector<gpu::Sample>> found =
      d.gpu().time<gpu::Add>(std::span(&op, 1), 3, samples, true);
  if (!found.has_value()) FAIL(found.error().message);
  return *found;
}

gpu::Add sum_of(Device& d, std::vector<Values>& keep, std::int64_t count) {
  for (int i = 0; i < 3; ++i) {
    keep.push_back(d.result(gpu::Type::Bf16, count));
    Device::need(keep.back().memory.randomise(gpu::Type::Bf16, static_cast<std::uint64_t>(i)));
  }
  const std::size_t last = keep.size() - 1;
  return {gpu::Type::Bf16, keep[last - 2].data(), keep[last - 1].data(), keep[last].data(), count};
}

}  // namespace

TEST_CASE("gpu module: what is missing is said in one sentence") {
  const Result<const gpu::Api*> none = load_gpu_module("/nowhere/gpu.so");
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().message.rfind("/nowhere/gpu.so: ", 0) == 0);
  const Result<const gpu::Api*> api = load_gpu_module();
  if (!api.has_value()) {
    CHECK(api.error().message ==
          "no GPU: expected gpu.so beside the program, found none: it was built without CUDA");
    return;
  }
  const Result<int> gpus = count_gpus(**api);
  if (gpus.has_value()) return;
  CHECK(gpus.error().code == ErrorCode::Device);
  CHECK_FALSE(gpus.error().message.empty());
  const Result<Gpu> gpu = Gpu::open(**api);
  REQUIRE_FALSE(gpu.has_value());
  CHECK(gpu.error().message == gpus.error().message);
}

TEST_CASE("gpu module: a struct of another size is refused") {
  on_each_device([](Device& d) {
    const gpu::Add op;
    const Status status =
        d.gpu().verdict(d.gpu().api().run(d.gpu().context(), gpu::Verb::Add, &op, sizeof op - 8));
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().code == ErrorCode::InvalidInput);
  });
}

TEST_CASE("gpu clock: events and kernel records agree within 2 % where the op is long",
          "[device]") {
  on_gpu([](Device& d) {
    std::vector<Values> keep;
    const std::vector<gpu::Sample> samples = timed(d, sum_of(d, keep, 1 << 29), 21);
    const double events = median(samples, &gpu::Sample::events),
                 span = median(samples, &gpu::Sample::span);
    CHECK(samples[0].kernels == 1);
    CHECK(std::string(samples[0].kernel).find("add_kernel") != std::string::npos);
    CHECK(events == Approx(span).epsilon(0.02));
    CHECK(median(samples, &gpu::Sample::busy) == Approx(span).epsilon(1e-6));
    std::cout << "sum of 2^29 bf16: events " << events * 1e6 << " us, kernel " << span * 1e6
              << " us, " << 6.0 * (1 << 29) / span * 1e-12 << " TB/s\n";
  });
}

TEST_CASE("gpu clock: what events add to a short kernel is some microseconds", "[device]") {
  on_gpu([](Device& d) {
    std::vector<Values> keep;
    const std::vector<gpu::Sample> samples = timed(d, sum_of(d, keep, 1024), 51);
    const double added =
        median(samples, &gpu::Sample::events) - median(samples, &gpu::Sample::span);
    std::cout << "overhead of events: " << added * 1e6 << " us a sample\n";
    CHECK(added > 0);
    CHECK(added < 20e-6);
  });
}

TEST_CASE("gpu device: it tells its name, memory and clocks", "[device]") {
  on_gpu([](Device& d) {
    const Result<gpu::DeviceInfo> info = d.gpu().info();
    REQUIRE(info.has_value());
    std::cout << info->name << ", driver " << info->driver << ", " << info->libraries << ", clock "
              << info->clock * 1e-6 << " of " << info->clock_most * 1e-6 << " MHz, memory "
              << info->memory_clock * 1e-6 << " MHz, " << info->power << " of " << info->power_limit
              << " W, " << info->temperature << " C, held down by: " << info->throttled << "\n";
    CHECK(info->multiprocessors > 0);
    CHECK(info->memory > 0);
    CHECK(info->major >= 8);
  });
}

TEST_CASE("gpu copies: bytes arrive by each path", "[device]") {
  on_gpu([](Device& d) {
    Random random(8);
    const std::vector<float> x = random_floats(1 << 16, random);
    const Values from = d.values(gpu::Type::F32, x), to = d.result(gpu::Type::F32, 1 << 16);
    d.run(gpu::Copy{gpu::Path::DeviceToDevice, from.data(), to.data(), 4 << 16});
    CHECK(d.read(to) == x);
    void* pinned = nullptr;
    Device::need(d.gpu().verdict(d.gpu().api().allocate_host(d.gpu().context(), 4 << 16, &pinned)));
    d.run(gpu::Copy{gpu::Path::DeviceToHost, from.data(), pinned, 4 << 16});
    const Values back = d.result(gpu::Type::F32, 1 << 16);
    d.run(gpu::Copy{gpu::Path::HostToDevice, pinned, back.data(), 4 << 16});
    CHECK(d.read(back) == x);
    d.gpu().api().release_host(d.gpu().context(), pinned);
  });
}

TEST_CASE("gpu collectives: one rank keeps what it has", "[device]") {
  on_gpu([](Device& d) {
    const Result<gpu::UniqueId> id = d.gpu().unique_id();
    if (!id.has_value()) {
      WARN(id.error().message);
      return;
    }
    Device::need(d.gpu().join(1, 0, *id));
    Random random(8);
    const std::vector<float> x = random_floats(4096, random);
    const Values in = d.values(gpu::Type::F32, x);
    for (const gpu::Exchange what :
         {gpu::Exchange::AllReduce, gpu::Exchange::AllGather, gpu::Exchange::ReduceScatter,
          gpu::Exchange::AllToAll, gpu::Exchange::Broadcast, gpu::Exchange::SendReceive}) {
      INFO("exchange " << static_cast<int>(what));
      const Values out = d.result(gpu::Type::F32, 4096);
      d.run(gpu::Collective{what, gpu::Type::F32, 4096, in.data(), out.data(), 0});
      CHECK(d.read(out) == x);
    }
  });
}

}  // namespace narrows::test

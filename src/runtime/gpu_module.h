// Opens gpu.so, the module that knows CUDA (kernels/cuda/gpu.h), beside the program or in
// ../lib/narrows of it: a program without the module, or on a machine without a driver, starts as
// always and says in one sentence what is missing. A Gpu is one device with its stream and memory.
//
// Threads: a Gpu belongs to the thread that opened it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/cuda/gpu.h"

namespace narrows {

// The module's functions. NotFound without the module, Unsupported if it is of another version.
Result<const gpu::Api*> load_gpu_module();
// The same, from one file.
Result<const gpu::Api*> load_gpu_module(const std::string& file);

// How many devices there are. Device if there is none, with the reason.
Result<int> count_gpus(const gpu::Api& api);

class Gpu {
 public:
  static Result<Gpu> open(const gpu::Api& api, int device = 0);

  Result<gpu::DeviceInfo> info();

  // Starts the op, which borrows what its pointers name until `wait`.
  template <typename Op>
  Status run(const Op& op) {
    return verdict(api_->run(context_.get(), Op::kVerb, &op, sizeof op));
  }
  // Until all is done that was started.
  Status wait();

  // `samples` runs of the op over its variants, after `warm` ones; with `kernels`, CUPTI's records
  // too. The variants are the same op on several inputs, so that none is found in the cache.
  template <typename Op>
  Result<std::vector<gpu::Sample>> time(std::span<const Op> variants, int warm, int samples,
                                        bool kernels) {
    std::vector<const void*> ops;
    for (const Op& op : variants) ops.push_back(&op);
    return time(Op::kVerb, sizeof(Op), ops, {warm, samples, kernels});
  }

  // For NCCL: one rank makes the id, all join with it.
  Result<gpu::UniqueId> unique_id();
  Status join(int ranks, int rank, const gpu::UniqueId& id);

  const gpu::Api& api() const { return *api_; }
  gpu::Context* context() const { return context_.get(); }
  Status verdict(gpu::Code code) const;

 private:
  struct Close {
    const gpu::Api* api = nullptr;
    void operator()(gpu::Context* context) const { api->close(context); }
  };
  struct Counts {
    int warm, samples;
    bool kernels;
  };
  Gpu(const gpu::Api& api, gpu::Context* context) : api_(&api), context_(context, Close{&api}) {}
  Result<std::vector<gpu::Sample>> time(gpu::Verb verb, std::size_t op_bytes,
                                        const std::vector<const void*>& ops, Counts counts);

  const gpu::Api* api_;  // borrows the module's, which stays loaded
  std::unique_ptr<gpu::Context, Close> context_;
};

// Memory of a Gpu, which must outlive it.
class GpuMemory {
 public:
  static Result<GpuMemory> allocate(Gpu& gpu, std::int64_t bytes);
  GpuMemory(GpuMemory&& other) noexcept;
  GpuMemory& operator=(GpuMemory&& other) noexcept;
  ~GpuMemory();

  void* data() const { return data_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::int64_t bytes() const { return bytes_; }

  Status from_host(const void* from, std::int64_t bytes);
  Status to_host(void* to, std::int64_t bytes) const;
  Status fill(int byte);
  // Numbers about 0 with deviation 0.5, from the seed and the place only.
  Status randomise(gpu::Type type, std::uint64_t seed);

 private:
  GpuMemory(Gpu& gpu, void* data, std::int64_t bytes) : gpu_(&gpu), data_(data), bytes_(bytes) {}

  Gpu* gpu_;  // borrows
  void* data_;
  std::int64_t bytes_;
};

}  // namespace narrows

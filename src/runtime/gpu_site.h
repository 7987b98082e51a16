// What the files gpu_work*.cc share: the memory of one op on a device, and its runs.
// Internal to src/runtime.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/gpu_work.h"

namespace narrows::gpu_site {

inline constexpr gpu::Type kBf16 = gpu::Type::Bf16, kF32 = gpu::Type::F32;

class Site {
 public:
  Site(Gpu& gpu, const GpuRules& rules) : gpu_(gpu), rules_(rules) {}

  // Room for `count` numbers, random ones.
  Result<void*> numbers(gpu::Type type, std::int64_t count);
  Result<float*> floats(std::int64_t count);
  // Room for `count` bytes that a kernel writes.
  Result<std::uint8_t*> bytes(std::int64_t count);
  // Zeros: sums of squares before the first step.
  Result<float*> zeros(std::int64_t count);
  // Whole numbers below `below`, in a fixed and even order.
  Result<std::int32_t*> indices(std::int64_t count, std::int64_t below);

  template <typename Op>
  Status once(const Op& op) {
    TRY(gpu_.run(op));
    return gpu_.wait();
  }
  template <typename Op>
  Result<std::vector<gpu::Sample>> time(const Op& op) {
    return gpu_.time(std::span<const Op>(&op, 1), rules_.warm, rules_.samples, rules_.kernels);
  }

 private:
  Gpu& gpu_;
  const GpuRules& rules_;
  std::vector<GpuMemory> memory_;
};

// V3's 8 experts of a token.
inline std::int64_t chosen_of(std::int64_t experts) { return std::min<std::int64_t>(8, experts); }

using Samples = Result<std::vector<gpu::Sample>>;

// gpu_work_matmul.cc
Samples matmul(Site& site, const GpuWork& work);

}  // namespace narrows::gpu_site

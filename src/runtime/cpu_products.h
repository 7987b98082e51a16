// Products of matrices for the CPU's backend, in every format, shared out over the rank's threads:
// f32, bf16 on tiles or else through packed copies, and the emulated block-scaled fp8
// (kernels/fp8.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/large_memory.h"
#include "kernels/fp8.h"
#include "kernels/matmul.h"
#include "runtime/backend.h"
#include "runtime/workers.h"

namespace narrows {

// Memory of each of the threads, at a multiple of a cache line; it only grows.
class WorkersScratch {
 public:
  explicit WorkersScratch(int threads) : of_worker_(static_cast<std::size_t>(threads)) {}
  float* at_least(int worker, std::int64_t floats);

 private:
  struct Free {
    void operator()(float* data) const { free_large(data); }
  };
  struct Memory {
    std::unique_ptr<float[], Free> data;
    std::int64_t count = 0;
  };
  std::vector<Memory> of_worker_;
};

class CpuProducts {
 public:
  // Borrows both.
  CpuProducts(Workers& workers, WorkersScratch& scratch);
  void run(const kernels::Matmul& op, Multiply format);
  void run(const std::vector<kernels::Matmul>& group, Multiply format);
  // Whether bf16 is multiplied on tiles.
  bool has_tiles() const { return amx_; }

 private:
  // Quantised operands of a matmul.
  struct Fp8Operand {
    std::vector<std::uint16_t> numbers;
    std::vector<float> scales;
    std::int64_t tiles = 0;  // scales of one outer index
  };
  void quantise(Fp8Operand& to, kernels::Fp8Quantise op);
  void quantise_operands(const kernels::Matmul& op);
  void run_fp8(const kernels::Matmul& op);
  void multiply_fp8(const kernels::Matmul& whole, int worker, std::int64_t first,
                    std::int64_t last);
  void run_narrowed(const kernels::Matmul& op, Multiply format);
  kernels::Matmul widened(const kernels::Matmul& op);
  const float* unpacked(std::vector<float>& to, const std::uint16_t* from, std::int64_t stride,
                        std::int64_t rows, std::int64_t columns);
  kernels::Matmul rounded(const kernels::Matmul& op);
  const std::uint16_t* packed(std::vector<std::uint16_t>& to, const float* from,
                              std::int64_t stride, std::int64_t rows, std::int64_t columns);

  Workers& workers_;
  WorkersScratch& scratch_;
  std::vector<std::uint16_t> narrow_a_, narrow_b_;  // a matmul's operands, without tiles
  std::vector<float> wide_a_, wide_b_, wide_c_;     // … and what is given narrow, as floats
  Fp8Operand fp8_a_, fp8_b_;
  bool amx_;
};

}  // namespace narrows

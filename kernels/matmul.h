// c = op(a) op(b) + beta c, row-major: op(a) is (m, k), op(b) is (k, n), each transposed where said
// so. Row strides are in elements. The fast versions are the backends'; this is what they must
// equal.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct Matmul {
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  const float* a = nullptr;
  std::int64_t stride_a = 0;
  const float* b = nullptr;
  std::int64_t stride_b = 0;
  float beta = 0;  // 0: what c held is not read
  float* c = nullptr;
  std::int64_t stride_c = 0;
  // The operands in bf16 (kernels/bf16.h), where they are at hand: read instead, with their own
  // strides.
  const std::uint16_t* a_narrow = nullptr;
  std::int64_t stride_a_narrow = 0;
  const std::uint16_t* b_narrow = nullptr;
  std::int64_t stride_b_narrow = 0;
  bool to_bf16 = false;  // results are rounded to bf16
  // The result in bf16, written instead of c, with its own stride; beta is 0.
  std::uint16_t* c_narrow = nullptr;
  std::int64_t stride_c_narrow = 0;
};

// Blocked for the cache, one thread.
void matmul(const Matmul& op);

// A backend's matmul, for kernels that are made of small ones. Called by several threads at once,
// each with memory of its own for `scratch`.
struct SmallMatmul {
  void (*run)(const Matmul& op, float* scratch) = nullptr;
  std::int64_t scratch = 0;  // floats, a multiple of 16
};

}  // namespace narrows::kernels

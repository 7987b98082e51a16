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
};

// Blocked for the cache, one thread.
void matmul(const Matmul& op);

// A backend's matmul, for kernels that are made of small ones. Called by several threads at once.
using MatmulFunction = void (*)(const Matmul& op);

}  // namespace narrows::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul.h"

#include <algorithm>
#include <vector>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

constexpr std::int64_t kBlock = 64;

// A block of op(x) with the wanted extents, packed row by row.
void pack(const float* x, std::int64_t stride, bool transpose, std::int64_t row, std::int64_t rows,
          std::int64_t column, std::int64_t columns, float* out) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      out[i * kBlock + j] =
          transpose ? x[(column + j) * stride + row + i] : x[(row + i) * stride + column + j];
    }
  }
}

NARROWS_VECTORISED
void multiply_block(const float* a, const float* b, std::int64_t m, std::int64_t n, std::int64_t k,
                    float* c, std::int64_t stride) {
  for (std::int64_t i = 0; i < m; ++i) {
    float* row = c + i * stride;
    for (std::int64_t l = 0; l < k; ++l) {
      const float left = a[i * kBlock + l];
      const float* right = b + l * kBlock;
      for (std::int64_t j = 0; j < n; ++j) row[j] += left * right[j];
    }
  }
}

void begin(const Matmul& op) {
  for (std::int64_t i = 0; i < op.m; ++i) {
    float* row = op.c + i * op.stride_c;
    for (std::int64_t j = 0; j < op.n; ++j) row[j] = op.beta == 0 ? 0 : op.beta * row[j];
  }
}

}  // namespace

void matmul(const Matmul& op) {
  begin(op);
  std::vector<float> a(kBlock * kBlock);
  std::vector<float> b(kBlock * kBlock);
  for (std::int64_t l = 0; l < op.k; l += kBlock) {
    const std::int64_t k = std::min(kBlock, op.k - l);
    for (std::int64_t j = 0; j < op.n; j += kBlock) {
      const std::int64_t n = std::min(kBlock, op.n - j);
      pack(op.b, op.stride_b, op.transpose_b, l, k, j, n, b.data());
      for (std::int64_t i = 0; i < op.m; i += kBlock) {
        const std::int64_t m = std::min(kBlock, op.m - i);
        pack(op.a, op.stride_a, op.transpose_a, i, m, l, k, a.data());
        multiply_block(a.data(), b.data(), m, n, k, op.c + i * op.stride_c + j, op.stride_c);
      }
    }
  }
}

}  // namespace narrows::kernels

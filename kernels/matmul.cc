// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul.h"

#include <algorithm>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

constexpr std::int64_t kBlock = 64;

// An operand: elements in one of two formats.
struct Operand {
  const float* wide = nullptr;
  const std::uint16_t* narrow = nullptr;
  std::int64_t stride = 0;
  bool transpose = false;
  float at(std::int64_t row, std::int64_t column) const {
    const std::int64_t i = transpose ? column * stride + row : row * stride + column;
    if (narrow == nullptr) return wide[i];
    float value = 0;
    from_bf16(narrow + i, &value, 1);
    return value;
  }
};

struct Extent {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

// A block of op(x), packed row by row.
void pack(const Operand& x, Extent rows, Extent columns, float* out) {
  for (std::int64_t i = 0; i < rows.count; ++i) {
    for (std::int64_t j = 0; j < columns.count; ++j) {
      out[i * kBlock + j] = x.at(rows.first + i, columns.first + j);
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
  const Operand left = op.a_narrow == nullptr
                           ? Operand{op.a, nullptr, op.stride_a, op.transpose_a}
                           : Operand{nullptr, op.a_narrow, op.stride_a_narrow, op.transpose_a};
  const Operand right = op.b_narrow == nullptr
                            ? Operand{op.b, nullptr, op.stride_b, op.transpose_b}
                            : Operand{nullptr, op.b_narrow, op.stride_b_narrow, op.transpose_b};
  std::vector<float> a(kBlock * kBlock);
  std::vector<float> b(kBlock * kBlock);
  for (std::int64_t l = 0; l < op.k; l += kBlock) {
    const std::int64_t k = std::min(kBlock, op.k - l);
    for (std::int64_t j = 0; j < op.n; j += kBlock) {
      const std::int64_t n = std::min(kBlock, op.n - j);
      pack(right, {l, k}, {j, n}, b.data());
      for (std::int64_t i = 0; i < op.m; i += kBlock) {
        const std::int64_t m = std::min(kBlock, op.m - i);
        pack(left, {i, m}, {l, k}, a.data());
        multiply_block(a.data(), b.data(), m, n, k, op.c + i * op.stride_c + j, op.stride_c);
      }
    }
  }
  if (!op.to_bf16) return;
  for (std::int64_t i = 0; i < op.m; ++i) round_to_bf16(op.c + i * op.stride_c, op.n);
}

}  // namespace narrows::kernels

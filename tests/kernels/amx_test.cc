// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/random.h"
#include "kernels/bf16.h"

namespace narrows::kernels {
namespace {

struct Matrix {
  std::int64_t rows = 0, stride = 0;
  std::vector<float> wide;
  std::vector<std::uint16_t> narrow;
};
// Columns beyond the first are room between rows.
Matrix random_matrix(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  Matrix m{rows, columns + 3, {}, {}};
  m.wide.resize(static_cast<std::size_t>(rows * m.stride));
  std::uint64_t i = 0;
  for (float& v : m.wide)
    v = static_cast<float>(static_cast<double>(mix(seed + ++i) >> 40) * 0x1p-23 - 1);
  m.narrow.resize(m.wide.size());
  to_bf16(m.wide.data(), m.stride, m.stride, m.narrow.data(), 0, rows);
  return m;
}

double rounded(const Matrix& m, std::int64_t row, std::int64_t column) {
  float x = 0;
  from_bf16(m.narrow.data() + row * m.stride + column, &x, 1);
  return static_cast<double>(x);
}

struct Problem {
  std::int64_t m, n, k;
  bool transpose_a, transpose_b;
  float beta;
  bool narrow_a = false, narrow_b = false;
};

// The largest error against sums in double of the rounded operands, relative to the sum of
// magnitudes.
double worst_error(const Problem& p) {
  const Matrix a = p.transpose_a ? random_matrix(p.k, p.m, 1) : random_matrix(p.m, p.k, 1);
  const Matrix b = p.transpose_b ? random_matrix(p.n, p.k, 2) : random_matrix(p.k, p.n, 2);
  const std::int64_t stride = p.n + 5;
  std::vector<float> c(static_cast<std::size_t>(p.m * stride), 0.5f);
  Matmul op{.transpose_a = p.transpose_a,
            .transpose_b = p.transpose_b,
            .m = p.m,
            .n = p.n,
            .k = p.k,
            .a = p.narrow_a ? nullptr : a.wide.data(),
            .stride_a = a.stride,
            .b = p.narrow_b ? nullptr : b.wide.data(),
            .stride_b = b.stride,
            .beta = p.beta,
            .c = c.data(),
            .stride_c = stride};
  if (p.narrow_a) op.a_narrow = a.narrow.data();
  if (p.narrow_b) op.b_narrow = b.narrow.data();
  op.stride_a_narrow = a.stride;
  op.stride_b_narrow = b.stride;
  const std::unique_ptr<void, void (*)(void*)> scratch(std::aligned_alloc(64, kAmxScratch),
                                                       std::free);
  amx_matmul(op, scratch.get());
  double worst = 0;
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = 0; j < stride; ++j) {
      const double found = static_cast<double>(c[static_cast<std::size_t>(i * stride + j)]);
      if (j >= p.n) {
        if (found != 0.5) return 1e9;  // wrote beyond its columns
        continue;
      }
      double sum = 0.5 * static_cast<double>(p.beta), size = std::abs(sum) + 1e-9;
      for (std::int64_t l = 0; l < p.k; ++l) {
        const double x = p.transpose_a ? rounded(a, l, i) : rounded(a, i, l);
        const double y = p.transpose_b ? rounded(b, j, l) : rounded(b, l, j);
        sum += x * y;
        size += std::abs(x * y);
      }
      worst = std::max(worst, std::abs(found - sum) / size);
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("amx: every way of transposing, at sizes beside the tiles' edges") {
  if (!has_amx()) return;
  for (const std::int64_t m : {1, 16, 17, 33, 64}) {
    for (const std::int64_t n : {1, 15, 32, 50}) {
      for (const std::int64_t k : {1, 2, 31, 32, 33, 64, 99}) {
        for (int bits = 0; bits < 4; ++bits) {
          INFO(m << " " << n << " " << k << " " << bits);
          CHECK(worst_error({m, n, k, (bits & 1) != 0, (bits & 2) != 0, 0}) < 1e-6);
          CHECK(worst_error({m, n, k, (bits & 1) != 0, (bits & 2) != 0, 1}) < 1e-6);
        }
      }
    }
  }
}

TEST_CASE("amx: several blocks of every extent") {
  if (!has_amx()) return;
  CHECK(worst_error({150, 40, 1100, false, true, 0}) < 1e-6);
  CHECK(worst_error({40, 1100, 70, true, false, 1}) < 1e-6);
  CHECK(worst_error({300, 1030, 520, false, false, 0.5f}) < 1e-6);
}

TEST_CASE("amx: operands that are narrow already give the same") {
  if (!has_amx()) return;
  for (int bits = 0; bits < 16; ++bits) {
    CHECK(worst_error({33, 47, 70, (bits & 1) != 0, (bits & 2) != 0, 0, (bits & 4) != 0,
                       (bits & 8) != 0}) < 1e-6);
  }
}

TEST_CASE("amx: results rounded as they are stored are the nearest numbers of bf16") {
  if (!has_amx()) return;
  const std::int64_t m = 50, n = 45, k = 600;  // two blocks of depth: rounded once
  const Matrix a = random_matrix(m, k, 5);
  const Matrix b = random_matrix(k, n, 6);
  const std::unique_ptr<void, void (*)(void*)> scratch(std::aligned_alloc(64, kAmxScratch),
                                                       std::free);
  std::vector<float> wide(static_cast<std::size_t>(m * n)), narrow(wide.size());
  Matmul op{.m = m,
            .n = n,
            .k = k,
            .a = a.wide.data(),
            .stride_a = a.stride,
            .b = b.wide.data(),
            .stride_b = b.stride,
            .c = wide.data(),
            .stride_c = n};
  amx_matmul(op, scratch.get());
  op.c = narrow.data();
  op.to_bf16 = true;
  amx_matmul(op, scratch.get());
  round_to_bf16(wide.data(), m * n);
  CHECK(narrow == wide);
}

TEST_CASE("amx: results stored as bf16 are those that are rounded as floats") {
  if (!has_amx()) return;
  for (const std::int64_t k : {40, 512, 600, 2048}) {
    const std::int64_t m = 150, n = 1100, stride = n + 7;
    const Matrix a = random_matrix(m, k, 7);
    const Matrix b = random_matrix(n, k, 8);
    const std::unique_ptr<void, void (*)(void*)> scratch(std::aligned_alloc(64, kAmxScratch),
                                                         std::free);
    std::vector<float> wide(static_cast<std::size_t>(m * n)), found(wide.size());
    std::vector<std::uint16_t> narrow(static_cast<std::size_t>(m * stride), 99);
    Matmul op{.transpose_b = true,
              .m = m,
              .n = n,
              .k = k,
              .a = a.wide.data(),
              .stride_a = a.stride,
              .b = b.wide.data(),
              .stride_b = b.stride,
              .c = wide.data(),
              .stride_c = n,
              .to_bf16 = true};
    amx_matmul(op, scratch.get());
    op.c = nullptr;
    op.c_narrow = narrow.data();
    op.stride_c_narrow = stride;
    amx_matmul(op, scratch.get());
    bool beyond = false;
    for (std::int64_t r = 0; r < m; ++r) {
      const std::uint16_t* const row = narrow.data() + r * stride;
      from_bf16(row, found.data() + r * n, n);
      for (std::int64_t c = n; c < stride; ++c) beyond = beyond || row[c] != 99;
    }
    CHECK(found == wide);
    CHECK_FALSE(beyond);
  }
}

}  // namespace narrows::kernels

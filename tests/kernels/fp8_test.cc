// SPDX-License-Identifier: Apache-2.0
#include "kernels/fp8.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "kernels/bf16.h"

namespace narrows::kernels {
namespace {

// From the definition: sign, exponent, mantissa.
double value_of(int code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}
bool is_nan(int code) { return (code & 0x7f) == 0x7f; }

// The nearest code of all, of two equally near the one with an even mantissa.
int nearest(float x) {
  int best = std::signbit(x) ? 0x80 : 0;
  for (int code = 0; code < 256; ++code) {
    if (is_nan(code) || ((code & 0x80) != 0) != std::signbit(x)) continue;
    const double now = std::abs(value_of(best) - static_cast<double>(x));
    const double then = std::abs(value_of(code) - static_cast<double>(x));
    if (then < now || (then == now && code % 2 == 0)) best = code;
  }
  return best;
}

float number(std::uint32_t bits) {
  float x = 0;
  std::memcpy(&x, &bits, 4);
  return x;
}

std::vector<float> random_matrix(std::int64_t count, std::uint64_t seed, double spread) {
  std::vector<float> x(static_cast<std::size_t>(count));
  std::uint64_t i = 0;
  for (float& v : x) {
    const double u = static_cast<double>(mix(seed + ++i) >> 11) * 0x1p-53;
    // Magnitudes over several powers of two, so that scales matter.
    v = static_cast<float>((2 * u - 1) *
                           std::ldexp(spread, static_cast<int>(mix(seed ^ (i / 40)) % 9)));
  }
  return x;
}

double wide(std::uint16_t half) {
  float x = 0;
  from_bf16(&half, &x, 1);
  return static_cast<double>(x);
}

// Everything in double, tile by tile from the floats themselves.
struct Exact {
  std::vector<double> value;  // E4M3 numbers times scales, in the matrix's own order
};
Exact dequantised(const Fp8Quantise& op) {
  Exact exact;
  const bool by_row = op.scaling == Fp8Scaling::Rows || op.scaling == Fp8Scaling::BlocksOfRows;
  for (std::int64_t r = 0; r < op.rows; ++r) {
    for (std::int64_t c = 0; c < op.columns; ++c) {
      const float scale = by_row ? op.scales[r * fp8_tiles(op.columns) + c / kFp8Tile]
                                 : op.scales[c * fp8_tiles(op.rows) + r / kFp8Tile];
      exact.value.push_back(wide(op.to[r * op.columns + c]) * static_cast<double>(scale));
    }
  }
  return exact;
}

struct Quantised {
  std::vector<std::uint16_t> to;
  std::vector<float> scales;
  Fp8Quantise op;
};
Quantised quantised(const std::vector<float>& from, std::int64_t rows, std::int64_t columns,
                    Fp8Scaling scaling) {
  Quantised q;
  q.to.resize(from.size());
  q.scales.resize(static_cast<std::size_t>((rows + 128) * (columns + 128)));
  q.op = {from.data(), columns, rows, columns, scaling, q.to.data(), q.scales.data()};
  fp8_quantise(q.op, 0, rows);
  return q;
}

}  // namespace

TEST_CASE("e4m3: every code reads as the format defines it, and comes back") {
  for (int code = 0; code < 256; ++code) {
    const float x = from_e4m3(static_cast<std::uint8_t>(code));
    CHECK(to_e4m3(x) == code);
    if (is_nan(code)) {
      CHECK(std::isnan(x));
    } else {
      CHECK(static_cast<double>(x) == value_of(code));
    }
  }
  CHECK(from_e4m3(0x7e) == 448.0f);
  CHECK(from_e4m3(0x01) == 0x1p-9f);
}

TEST_CASE("e4m3: halfway between two codes goes to the even one") {
  for (int code = 0; code < 0x7e; ++code) {
    const float half = static_cast<float>((value_of(code) + value_of(code + 1)) / 2);
    CHECK(to_e4m3(half) == (code % 2 == 0 ? code : code + 1));
    CHECK(to_e4m3(-half) == (0x80 | (code % 2 == 0 ? code : code + 1)));
    CHECK(to_e4m3(std::nextafter(half, 0.0f)) == code);
    CHECK(to_e4m3(std::nextafter(half, 1e9f)) == code + 1);
  }
}

TEST_CASE("e4m3: random floats of every exponent go to the nearest code, above 448 to 448") {
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const float x = number(static_cast<std::uint32_t>(mix(i)));
    if (std::isnan(x)) continue;
    INFO(x);
    CHECK(to_e4m3(x) == nearest(x));
  }
  // And where the codes are.
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(mix(i ^ 77));
    const float x = number((bits & 0x807fffffu) | ((114u + bits % 24) << 23));
    INFO(x);
    CHECK(to_e4m3(x) == nearest(x));
  }
}

TEST_CASE("fp8: a tile is scaled so that its largest element becomes 448") {
  const std::vector<float> x = random_matrix(5 * 300, 3, 1e-3);
  const Quantised q = quantised(x, 5, 300, Fp8Scaling::Rows);
  for (std::int64_t r = 0; r < 5; ++r) {
    for (std::int64_t t = 0; t < 3; ++t) {
      float most = 0;
      double largest = 0;
      for (std::int64_t c = 128 * t; c < std::min<std::int64_t>(300, 128 * t + 128); ++c) {
        most = std::max(most, std::abs(x[static_cast<std::size_t>(r * 300 + c)]));
        largest = std::max(largest, std::abs(wide(q.to[static_cast<std::size_t>(r * 300 + c)])));
      }
      CHECK(q.scales[static_cast<std::size_t>(r * 3 + t)] == most / 448.0f);
      CHECK(largest == 448);
    }
  }
}

TEST_CASE("fp8: rows, columns and blocks stand on the codes of E4M3, within half a step") {
  const std::int64_t rows = 200, columns = 150;
  const std::vector<float> x = random_matrix(rows * columns, 5, 1e-2);
  for (const Fp8Scaling scaling : {Fp8Scaling::Rows, Fp8Scaling::Columns, Fp8Scaling::BlocksOfRows,
                                   Fp8Scaling::BlocksOfColumns}) {
    const Quantised q = quantised(x, rows, columns, scaling);
    const Exact exact = dequantised(q.op);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float number = static_cast<float>(wide(q.to[i]));
      CHECK(from_e4m3(to_e4m3(number)) == number);
      const double scale = number == 0 ? 0 : exact.value[i] / static_cast<double>(number);
      const double step = std::max(std::abs(exact.value[i]) / 8, scale * 0x1p-9);
      if (number != 0) CHECK(std::abs(exact.value[i] - static_cast<double>(x[i])) <= 0.51 * step);
    }
  }
}

TEST_CASE("fp8: a block's scale is one for 128 x 128, whichever way it is told") {
  const std::vector<float> x = random_matrix(256 * 256, 7, 1);
  const Quantised rows = quantised(x, 256, 256, Fp8Scaling::BlocksOfRows);
  const Quantised columns = quantised(x, 256, 256, Fp8Scaling::BlocksOfColumns);
  CHECK(rows.to == columns.to);
  for (std::size_t i = 0; i < 256; ++i) {
    for (std::size_t t = 0; t < 2; ++t) {
      CHECK(rows.scales[i * 2 + t] == rows.scales[i / 128 * 256 + t]);
      CHECK(columns.scales[i * 2 + t] == rows.scales[t * 256 + i / 128]);
    }
  }
}

TEST_CASE(
    "fp8: matmuls of every direction equal the sum in double of the same quantised operands") {
  // Forward x W^T, input gradient dy W, weight gradient dy^T x.
  const std::int64_t tokens = 70, n = 140, k = 300;
  const std::vector<float> x = random_matrix(tokens * k, 11, 1e-2);
  const std::vector<float> w = random_matrix(n * k, 12, 1e-1);
  const std::vector<float> dy = random_matrix(tokens * n, 13, 1e-4);
  const SmallMatmul plain{[](const Matmul& op, float*) { matmul(op); }, 0};
  struct Case {
    const std::vector<float>&a, &b;
    Fp8Scaling scale_a, scale_b;
    bool transpose_a, transpose_b;
    std::int64_t rows_a, columns_a, rows_b, columns_b;
  };
  const Case cases[] = {
      {x, w, Fp8Scaling::Rows, Fp8Scaling::BlocksOfRows, false, true, tokens, k, n, k},
      {dy, w, Fp8Scaling::Rows, Fp8Scaling::BlocksOfColumns, false, false, tokens, n, n, k},
      {dy, x, Fp8Scaling::Columns, Fp8Scaling::Columns, true, false, tokens, n, tokens, k}};
  for (const Case& one : cases) {
    const Quantised a = quantised(one.a, one.rows_a, one.columns_a, one.scale_a);
    const Quantised b = quantised(one.b, one.rows_b, one.columns_b, one.scale_b);
    Matmul shape;
    shape.transpose_a = one.transpose_a;
    shape.transpose_b = one.transpose_b;
    shape.m = one.transpose_a ? one.columns_a : one.rows_a;
    shape.k = one.transpose_a ? one.rows_a : one.columns_a;
    shape.n = one.transpose_b ? one.rows_b : one.columns_b;
    shape.a_narrow = a.to.data();
    shape.stride_a_narrow = one.columns_a;
    shape.b_narrow = b.to.data();
    shape.stride_b_narrow = one.columns_b;
    std::vector<float> c(static_cast<std::size_t>(shape.m * shape.n), 0.25f);
    shape.c = c.data();
    shape.stride_c = shape.n;
    shape.beta = 1;
    std::vector<float> part(static_cast<std::size_t>((shape.m + 1) * shape.n));
    fp8_matmul({shape, a.scales.data(), b.scales.data()}, plain, nullptr, part.data());
    const Exact left = dequantised(a.op);
    const Exact right = dequantised(b.op);
    double worst = 0;
    for (std::int64_t i = 0; i < shape.m; ++i) {
      for (std::int64_t j = 0; j < shape.n; ++j) {
        double sum = 0.25, size = 0.25;
        for (std::int64_t l = 0; l < shape.k; ++l) {
          const std::int64_t at_a = one.transpose_a ? l * one.columns_a + i : i * one.columns_a + l;
          const std::int64_t at_b = one.transpose_b ? j * one.columns_b + l : l * one.columns_b + j;
          const double product = left.value[static_cast<std::size_t>(at_a)] *
                                 right.value[static_cast<std::size_t>(at_b)];
          sum += product;
          size += std::abs(product);
        }
        const double error =
            std::abs(static_cast<double>(c[static_cast<std::size_t>(i * shape.n + j)]) - sum);
        worst = std::max(worst, error / size);
      }
    }
    CHECK(worst < 2e-6);  // f32 sums of 128
  }
}

TEST_CASE("fp8: rows that were packed come back as the numbers that were multiplied") {
  const std::int64_t rows = 9, columns = 200;
  const std::vector<float> x = random_matrix(rows * columns, 17, 1e-3);
  std::vector<std::uint8_t> codes(x.size());
  std::vector<float> scales(static_cast<std::size_t>(rows * 2)), back(x.size());
  fp8_pack(x.data(), columns, codes.data(), scales.data(), 0, rows);
  fp8_unpack(codes.data(), scales.data(), columns, back.data(), 0, rows);
  const Quantised q = quantised(x, rows, columns, Fp8Scaling::Rows);
  const Exact exact = dequantised(q.op);
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(static_cast<double>(back[i]) == Approx(exact.value[i]).epsilon(1e-7));
  }
  // Packed again they are the same.
  std::vector<std::uint8_t> again(x.size());
  fp8_pack(back.data(), columns, again.data(), scales.data(), 0, rows);
  CHECK(again == codes);
}

}  // namespace narrows::kernels

// Matmuls in E4M3 with scales by block, dense and of experts, against the same bytes and scales in
// double.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cmath>

#include "gpu/device.h"
#include "gpu/emulated_module.h"
#include "kernels/cuda/tile_order.h"

namespace narrows::test {
namespace {

using gpu::Tiles;
using gpu::Type;

float e4m3_value(std::uint8_t byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                   : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return byte >= 128 ? -size : size;
}

// Rows along the sum in E4M3, on the device and as read back.
struct Quantised {
  std::int64_t rows, sum;
  bool blocks;
  GpuMemory bytes, scales;
  std::vector<std::uint8_t> read_bytes;
  std::vector<float> read_scales;

  const std::uint8_t* data() const { return bytes.as<std::uint8_t>(); }
  const float* scale_data() const { return scales.as<float>(); }
};

// (matrices, rows, sum) random numbers, a matrix at a time.
Quantised quantised(Device& d, Random& random, std::int64_t matrices, std::int64_t rows,
                    std::int64_t sum, bool blocks) {
  const std::int64_t each =
      blocks ? gpu::tiles_of(rows) * gpu::block_scale_stride(sum) : gpu::tiles_of(sum) * rows;
  Quantised q{rows, sum, blocks, d.poisoned(matrices * rows * sum), d.poisoned(4 * matrices * each),
              {},   {}};
  for (std::int64_t i = 0; i < matrices; ++i) {
    const Values x = d.values(Type::F32, random_floats(rows * sum, random, 3));
    d.run(gpu::Quantise{Type::F32, blocks ? Tiles::Blocks : Tiles::Rows, x.data(), rows, sum,
                        q.bytes.as<std::uint8_t>() + i * rows * sum,
                        q.scales.as<float>() + i * each});
  }
  q.read_bytes = d.read_array<std::uint8_t>(q.bytes, matrices * rows * sum);
  q.read_scales = d.read_array<float>(q.scales, matrices * each);
  return q;
}

double number_of(const Quantised& q, std::int64_t matrix, std::int64_t row, std::int64_t at) {
  const std::int64_t stride = gpu::block_scale_stride(q.sum), tile = at / 128;
  const std::int64_t each =
      q.blocks ? gpu::tiles_of(q.rows) * stride : gpu::tiles_of(q.sum) * q.rows;
  const std::int64_t scale = q.blocks ? row / 128 * stride + tile : tile * q.rows + row;
  return double{e4m3_value(
             q.read_bytes[static_cast<std::size_t>((matrix * q.rows + row) * q.sum + at)])} *
         q.read_scales[static_cast<std::size_t>(matrix * each + scale)];
}

// The product of a's row and a row of b's matrix over a part of the sum.
double product(const Quantised& a, std::int64_t i, const Quantised& b, std::int64_t matrix,
               std::int64_t j, std::int64_t from, std::int64_t to) {
  double sum = 0;
  for (std::int64_t at = from; at < to; ++at)
    sum += number_of(a, 0, i, at) * number_of(b, matrix, j, at);
  return sum;
}

// Hopper's tensor cores keep some 14 bits of an E4M3 sum (deepseek2024 §3.3.2); f16's all.
double tolerance_of(const Device& d, bool dense, Type out) {
  if (out == Type::Bf16) return 1e-2;
  return dense && d.name() == "gpu" ? 2e-3 : 1e-5;
}

struct Case {
  bool groups_sum;
  std::vector<std::int64_t> begin;
  std::int64_t other, n;  // rows where sums are in groups, the sum where rows are
};

void check_groups(Device& d, const Case& c, bool blocks, Type out) {
  Random random(5);
  const std::int64_t groups = std::ssize(c.begin) - 1, end = c.begin.back();
  const std::int64_t m = c.groups_sum ? c.other : end, k = c.groups_sum ? end : c.other;
  const Quantised a = quantised(d, random, 1, m, k, false);
  const Quantised b = quantised(d, random, c.groups_sum ? 1 : groups, c.n, k, blocks);
  const std::int64_t count = (c.groups_sum ? groups * m : m) * c.n;
  const std::vector<float> was = rounded(out, random_floats(count, random));
  const Values to = d.values(out, was);
  d.run(gpu::GroupedScaledMatmul{.out = out,
                                 .groups_sum = c.groups_sum,
                                 .b_blocks = blocks,
                                 .groups = groups,
                                 .m = m,
                                 .n = c.n,
                                 .k = k,
                                 .begin = c.begin.data(),
                                 .a = a.data(),
                                 .scale_a = a.scale_data(),
                                 .b = b.data(),
                                 .scale_b = b.scale_data(),
                                 .beta = c.groups_sum ? 0.5f : 0.0f,
                                 .c = to.data()});
  std::vector<float> truth(static_cast<std::size_t>(count));
  for (std::int64_t e = 0; e < groups; ++e) {
    const std::int64_t first = c.begin[static_cast<std::size_t>(e)],
                       last = c.begin[static_cast<std::size_t>(e) + 1];
    for (std::int64_t i = c.groups_sum ? 0 : first; i < (c.groups_sum ? m : last); ++i) {
      for (std::int64_t j = 0; j < c.n; ++j) {
        const std::size_t at = static_cast<std::size_t>(((c.groups_sum ? e * m : 0) + i) * c.n + j);
        truth[at] =
            static_cast<float>(c.groups_sum ? product(a, i, b, 0, j, first, last) + 0.5 * was[at]
                                            : product(a, i, b, e, j, 0, k));
      }
    }
  }
  CHECK(distance(d.read(to), truth) <= tolerance_of(d, false, out));
}

void check_groups_by_library(const Case& c, bool blocks) {
  gpu::emulate({.architecture = 90, .multiplies = true});
  Result<Gpu> opened = Gpu::open(gpu::emulated_api());
  gpu::emulate({});
  REQUIRE(opened.has_value());
  Device d("emulated Hopper", std::move(*opened));
  check_groups(d, c, blocks, Type::F32);
}

}  // namespace

TEST_CASE("gpu scaled matmul: E4M3 with scales by block, against the same numbers in double") {
  on_each_device([](Device& d) {
    for (const bool blocks : {true, false}) {
      INFO((blocks ? "128x128" : "1x128") << " scales of b");
      Random random(3);
      const std::int64_t m = d.is_small() ? 132 : 516, n = 144, k = d.is_small() ? 272 : 1040;
      const Quantised a = quantised(d, random, 1, m, k, false);
      const Quantised b = quantised(d, random, 1, n, k, blocks);
      const Values c = d.result(Type::F32, m * n);
      d.run(gpu::ScaledMatmul{Type::F32, blocks, m, n, k, a.data(), a.scale_data(), b.data(),
                              b.scale_data(), 0, c.data()});
      std::vector<float> truth;
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j)
          truth.push_back(static_cast<float>(product(a, i, b, 0, j, 0, k)));
      }
      CHECK(distance(d.read(c), truth) <= tolerance_of(d, true, Type::F32));
    }
  });
}

TEST_CASE("gpu scaled matmul: every E4M3 number is multiplied as it is, denormal ones too") {
  on_each_device([](Device& d) {
    constexpr std::int64_t m = 256, n = 16, k = 16;
    // Row i holds number i in one place, and picks it with a 1 there.
    std::vector<std::uint8_t> a(m * k, 0), b(n * k, 0);
    for (std::size_t i = 0; i < 256; ++i) a[i * k + i % k] = static_cast<std::uint8_t>(i);
    for (std::size_t j = 0; j < n; ++j) b[j * k + j] = 0x38;
    const GpuMemory on_a = d.array(a), on_b = d.array(b);
    const Values ones = d.values(Type::F32, std::vector<float>(m, 1.0f));
    const Values c = d.result(Type::F32, m * n);
    const std::int64_t begin[] = {0, m};
    d.run(gpu::GroupedScaledMatmul{.out = Type::F32,
                                   .groups = 1,
                                   .m = m,
                                   .n = n,
                                   .k = k,
                                   .begin = begin,
                                   .a = on_a.as<std::uint8_t>(),
                                   .scale_a = ones.floats(),
                                   .b = on_b.as<std::uint8_t>(),
                                   .scale_b = ones.floats(),
                                   .c = c.data()});
    const std::vector<float> found = d.read(c);
    for (std::size_t i = 0; i < 256; ++i) {
      const float value = found[i * n + i % k];
      INFO("byte " << i);
      if ((i & 0x7fu) == 0x7fu) {
        CHECK(std::isnan(value));
      } else {
        CHECK(value == e4m3_value(static_cast<std::uint8_t>(i)));
      }
    }
  });
}

TEST_CASE("gpu scaled matmul: of experts, groups of rows that begin anywhere") {
  on_each_device([](Device& d) {
    check_groups(d, {false, {0, 33, 33, 163}, 272, 144}, true, Type::F32);
    check_groups(d, {false, {0, 33, 33, 163}, 272, 144}, true, Type::Bf16);
    // Groups so short that their tiles are of 64 rows.
    check_groups(d, {false, {0, 9, 12, 50}, 144, 272}, false, Type::F32);
  });
}

TEST_CASE("gpu scaled matmul: of experts, weight gradients added to what was there") {
  on_each_device([](Device& d) {
    check_groups(d, {true, {0, 128, 128, 384, 464}, 72, 144}, false, Type::F32);
    check_groups(d, {true, {0, 256, 272}, 136, 16}, false, Type::Bf16);
    check_groups(d, {true, {0, 256, 272}, 24, 144}, true, Type::F32);
  });
}

TEST_CASE("gpu scaled matmul: more groups than one launch takes") {
  on_each_device([](Device& d) {
    Case rows{false, {0}, 16, 16}, sums{true, {0}, 8, 16};
    for (int e = 0; e < gpu::kMostGroups + 20; ++e) {
      const bool has_any = e % 200 == 3 || e == gpu::kMostGroups;
      rows.begin.push_back(rows.begin.back() + (has_any ? 1 + e % 7 : 0));
      sums.begin.push_back(sums.begin.back() + (has_any ? 128 : 0));
    }
    check_groups(d, rows, true, Type::F32);
    check_groups(d, sums, false, Type::F32);
  });
}

TEST_CASE("gpu scaled matmul: on Hopper a library takes one group after the other") {
  // Rows in fours; one group is empty.
  check_groups_by_library({false, {0, 32, 32, 164}, 272, 144}, true);
  check_groups_by_library({false, {0, 128, 132}, 144, 272}, false);
  check_groups_by_library({true, {0, 128, 384, 464}, 72, 144}, false);
  // What it cannot take the kernel does.
  check_groups_by_library({false, {0, 33, 164}, 272, 144}, true);
  check_groups_by_library({true, {0, 128, 128, 384}, 72, 144}, false);
}

TEST_CASE("gpu scaled matmul: what the kernel cannot take is named") {
  on_each_device([](Device& d) {
    const auto problem = [&](gpu::GroupedScaledMatmul op, const std::vector<std::int64_t>& begin) {
      op.groups = std::ssize(begin) - 1;
      op.begin = begin.data();
      const Status ran = d.gpu().run(op);
      REQUIRE_FALSE(ran.has_value());
      return ran.error().message;
    };
    CHECK(problem({.m = 8, .n = 16, .k = 24}, {0, 8}) ==
          "scaled matmul: n and k in 16s at multiples of 16 bytes, found 16 and 24");
    CHECK(problem({.m = 9, .n = 16, .k = 32}, {0, 8}) ==
          "scaled matmul: groups end at 8, expected 9");
    CHECK(problem({.groups_sum = true, .m = 8, .n = 16, .k = 256}, {0, 64, 256}) ==
          "scaled matmul: sums begin at multiples of 128, group 1 at 64");
  });
}

}  // namespace narrows::test

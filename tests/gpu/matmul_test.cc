// cuBLASLt's matmuls: only a GPU has them.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "gpu/device.h"

namespace narrows::test {
namespace {

std::vector<float> product(const kernels::Matmul& shape, const std::vector<float>& a,
                           const std::vector<float>& b, std::vector<float> c) {
  kernels::Matmul op = shape;
  op.a = a.data();
  op.b = b.data();
  op.c = c.data();
  kernels::matmul(op);
  return c;
}

float e4m3_value(std::uint8_t byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                   : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return byte >= 128 ? -size : size;
}

}  // namespace

TEST_CASE("gpu matmul: every transposition, odd sizes, with and without what was there",
          "[device]") {
  on_gpu([](Device& d) {
    Random random(1);
    for (const gpu::Type type : kTypes) {
      for (const std::int64_t n : {136, 70}) {
        constexpr std::int64_t m = 67, k = 129;
        const std::vector<float> a = rounded(type, random_floats(m * k, random));
        const std::vector<float> b = rounded(type, random_floats(k * n, random));
        const std::vector<float> c = random_floats(m * n, random);
        const Values on_a = d.values(type, a), on_b = d.values(type, b);
        for (const bool ta : {false, true}) {
          for (const bool tb : {false, true}) {
            for (const float beta : {0.0f, 1.0f}) {
              INFO(word(type) << ", n " << n << (ta ? ", a^T" : "") << (tb ? ", b^T" : "")
                              << ", beta " << beta);
              const Values on_c =
                  beta == 0 ? d.result(gpu::Type::F32, m * n) : d.values(gpu::Type::F32, c);
              d.run(gpu::Matmul{type, gpu::Type::F32, ta, tb, m, n, k, on_a.data(), ta ? m : k,
                                on_b.data(), tb ? k : n, beta, on_c.data(), n});
              const kernels::Matmul shape{ta,         tb,      m,          n,    k,       nullptr,
                                          ta ? m : k, nullptr, tb ? k : n, beta, nullptr, n};
              CHECK(distance(d.read(on_c), product(shape, a, b, c)) <= 1e-5);
            }
          }
        }
      }
    }
  });
}

TEST_CASE("gpu matmul: results in bf16", "[device]") {
  on_gpu([](Device& d) {
    Random random(1);
    const std::vector<float> a = rounded(gpu::Type::Bf16, random_floats(256 * 512, random));
    const std::vector<float> b = rounded(gpu::Type::Bf16, random_floats(128 * 512, random));
    const Values on_a = d.values(gpu::Type::Bf16, a), on_b = d.values(gpu::Type::Bf16, b);
    const Values c = d.result(gpu::Type::Bf16, 256 * 128);
    d.run(gpu::Matmul{gpu::Type::Bf16, gpu::Type::Bf16, false, true, 256, 128, 512, on_a.data(),
                      512, on_b.data(), 512, 0, c.data(), 128});
    const kernels::Matmul shape{false, true,    256, 128, 512,     nullptr,
                                512,   nullptr, 512, 0,   nullptr, 128};
    CHECK(distance(d.read(c), product(shape, a, b, std::vector<float>(256 * 128))) <= 1e-2);
  });
}

TEST_CASE("gpu scaled matmul: E4M3 with scales by block, against the same numbers in double",
          "[device]") {
  on_gpu([](Device& d) {
    Random random(3);
    constexpr std::int64_t m = 260, n = 384, k = 640;
    const gpu::Type f32 = gpu::Type::F32;
    const Values a = d.values(f32, random_floats(m * k, random, 3)),
                 b = d.values(f32, random_floats(n * k, random));
    for (const bool blocks : {true, false}) {
      INFO((blocks ? "128x128" : "1x128") << " scales of b");
      const std::int64_t tiles = gpu::tiles_of(k), stride = gpu::block_scale_stride(k);
      const GpuMemory a8 = d.poisoned(m * k), b8 = d.poisoned(n * k);
      const Values scale_a = d.result(f32, tiles * m);
      const Values scale_b = d.result(f32, blocks ? gpu::tiles_of(n) * stride : tiles * n);
      const gpu::Tiles of_b = blocks ? gpu::Tiles::Blocks : gpu::Tiles::Rows;
      d.run(gpu::Quantise{f32, gpu::Tiles::Rows, a.data(), m, k, a8.as<std::uint8_t>(),
                          scale_a.floats()});
      d.run(gpu::Quantise{f32, of_b, b.data(), n, k, b8.as<std::uint8_t>(), scale_b.floats()});
      const Values c = d.result(f32, m * n);
      const Status ran = d.gpu().run(gpu::ScaledMatmul{f32, blocks, m, n, k, a8.as<std::uint8_t>(),
                                                       scale_a.floats(), b8.as<std::uint8_t>(),
                                                       scale_b.floats(), 0, c.data()});
      if (!ran.has_value() && ran.error().code == ErrorCode::Unsupported) {
        WARN(ran.error().message);
        continue;
      }
      Device::need(ran);
      const std::vector<float> found = d.read(c);
      const std::vector<float> sa = d.read(scale_a), sb = d.read(scale_b);
      const std::vector<std::uint8_t> qa = d.read_array<std::uint8_t>(a8, m * k),
                                      qb = d.read_array<std::uint8_t>(b8, n * k);
      std::vector<float> truth(found.size());
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (std::int64_t l = 0; l < k; ++l) {
            const std::int64_t t = l / 128;
            const float left = e4m3_value(qa[static_cast<std::size_t>(i * k + l)]) *
                               sa[static_cast<std::size_t>(t * m + i)];
            const std::int64_t at = blocks ? j / 128 * stride + t : t * n + j;
            sum += double{left} * e4m3_value(qb[static_cast<std::size_t>(j * k + l)]) *
                   sb[static_cast<std::size_t>(at)];
          }
          truth[static_cast<std::size_t>(i * n + j)] = static_cast<float>(sum);
        }
      }
      // Hopper's tensor cores keep some 14 bits of an E4M3 sum (deepseek2024 §3.3.2).
      CHECK(distance(found, truth) <= 2e-3);
    }
  });
}

}  // namespace narrows::test

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

}  // namespace narrows::test

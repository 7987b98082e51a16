// Kernels against plain formulas in double.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/bf16.h"
#include "kernels/elementary.h"
#include "kernels/matmul.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

std::vector<float> random_vector(std::size_t n, Random& random) {
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(2 * random.uniform() - 1);
  return x;
}

}  // namespace

TEST_CASE("elementary: functions agree with libm") {
  for (double x = -700; x < 700; x += 0.37) {
    CHECK(exponential(x) == Approx(std::exp(x)).epsilon(1e-13));
    const SineCosine at = sine_cosine(x * 100);
    CHECK(at.sine == Approx(std::sin(x * 100)).margin(1e-13));
    CHECK(at.cosine == Approx(std::cos(x * 100)).margin(1e-13));
  }
  for (double x = 1e-300; x < 1e300; x *= 7.3) {
    CHECK(natural_logarithm(x) == Approx(std::log(x)).epsilon(1e-14));
  }
  CHECK(power(10000, -0.25) == Approx(0.1).epsilon(1e-14));
}

TEST_CASE("elementary: the vector exponential is within two units in the last place") {
  for (float x = -86; x < 87; x += 0.013f) {
    CHECK(exp_of(x) == Approx(std::exp(double{x})).epsilon(2.5e-7));
  }
  CHECK(exp_of(-1000.0f) == 0.0f);
}

TEST_CASE("matmul: every transposition, odd sizes, with and without what was there") {
  Random random(1);
  constexpr std::int64_t m = 67, n = 70, k = 129;
  const std::vector<float> a = random_vector(m * k, random);
  const std::vector<float> b = random_vector(k * n, random);
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const float beta : {0.0f, 1.0f}) {
        std::vector<float> c(m * n, 0.5f);
        matmul({ta, tb, m, n, k, a.data(), ta ? m : k, b.data(), tb ? k : n, beta, c.data(), n});
        double worst = 0;
        for (std::int64_t i = 0; i < m; ++i) {
          for (std::int64_t j = 0; j < n; ++j) {
            double sum = 0.5 * double{beta};
            for (std::int64_t l = 0; l < k; ++l) {
              sum += double{a[static_cast<std::size_t>(ta ? l * m + i : i * k + l)]} *
                     double{b[static_cast<std::size_t>(tb ? j * k + l : l * n + j)]};
            }
            worst =
                std::max(worst, std::fabs(sum - double{c[static_cast<std::size_t>(i * n + j)]}));
          }
        }
        CHECK(worst < 1e-4);
      }
    }
  }
}

TEST_CASE("bf16: nearest, ties to even, NaN stays") {
  const std::vector<float> from = {1.0f, 1.00390625f, 1.01171875f, -3.0e38f, std::nanf("")};
  std::vector<std::uint16_t> bits(from.size());
  to_bf16(from.data(), 5, 5, bits.data(), 0, 1);
  std::vector<float> back(from.size());
  from_bf16(bits.data(), back.data(), 5);
  CHECK(back[0] == 1.0f);
  CHECK(back[1] == 1.0f);       // halfway down to even
  CHECK(back[2] == 1.015625f);  // halfway up to even
  CHECK(back[3] == Approx(-3.0e38f).epsilon(0.004));
  CHECK(std::isnan(back[4]));
}

TEST_CASE("rows: sums of lists undo picking") {
  const std::vector<float> tokens = {1, 2, 3, 4, 5, 6};
  const std::vector<std::int32_t> index = {2, 0, 2, -1};
  std::vector<float> copies(8);
  pick_rows({tokens.data(), index.data(), copies.data(), 4, 2, 1}, 0, 4);
  CHECK(copies == std::vector<float>{5, 6, 1, 2, 5, 6, 0, 0});
  const std::vector<std::int32_t> begin = {0, 1, 1, 3}, slots = {1, 0, 2};
  std::vector<float> sums(6);
  sum_rows({copies.data(), begin.data(), slots.data(), sums.data(), 3, 2, false}, 0, 3);
  CHECK(sums == std::vector<float>{1, 2, 0, 0, 10, 12});
  std::vector<float> table(6);
  scatter_rows({copies.data(), index.data(), table.data(), 4, 2}, 0, 2);
  CHECK(table == std::vector<float>{1, 2, 0, 0, 10, 12});
}

TEST_CASE("adamw: two steps by hand") {
  std::vector<float> w = {1.0f}, m = {0}, v = {0};
  const std::vector<float> g = {0.5f};
  AdamW op{w.data(), g.data(), m.data(), v.data(), 1, 0.1, 0.9, 0.99, 1e-8, 0.1, 1, 1};
  double ew = 1, em = 0, ev = 0;
  for (int step = 1; step <= 2; ++step) {
    op.step = step;
    adamw(op, 0, 1);
    ew *= 1 - 0.1 * 0.1;
    em = 0.9 * em + 0.1 * 0.5;
    ev = 0.99 * ev + 0.01 * 0.25;
    ew -= 0.1 * (em / (1 - std::pow(0.9, step))) /
          (std::sqrt(ev / (1 - std::pow(0.99, step))) + 1e-8);
    CHECK(w[0] == Approx(ew).epsilon(1e-6));
  }
}

TEST_CASE("rope: neighbours turn as the halves that Hugging Face makes of them") {
  Random random(5);
  constexpr std::int64_t kDim = 8;
  RotaryTable halves = rotary_table(32, kDim, 10000);
  RotaryTable neighbours = halves;
  neighbours.neighbours = true;
  const std::vector<float> x = random_vector(kDim, random);
  const std::int32_t position = 13;
  // Its DeepseekV3 takes every second element first, and rotates the halves of that.
  std::vector<float> sorted, turned = x;
  for (std::size_t i = 0; i < kDim; ++i) sorted.push_back(x[2 * i % kDim + i / (kDim / 2)]);
  rotate({.x = sorted.data(), .rows = 1, .positions = &position, .table = &halves}, 0, 1);
  rotate({.x = turned.data(), .rows = 1, .positions = &position, .table = &neighbours}, 0, 1);
  for (std::size_t i = 0; i < kDim; ++i) CHECK(sorted[i] == turned[2 * i % kDim + i / (kDim / 2)]);
  // And back.
  rotate(
      {.x = turned.data(), .rows = 1, .positions = &position, .table = &neighbours, .back = true},
      0, 1);
  for (std::size_t i = 0; i < kDim; ++i) CHECK(turned[i] == Approx(x[i]).margin(1e-6));
}

TEST_CASE("adamw: moments in bf16 are used before they are rounded") {
  const std::vector<float> g = {0.5f, -0.3f, 1e-3f};
  std::vector<float> w = {1, 2, 3}, m(3), v(3), expected = w;
  std::vector<std::uint16_t> half_m(3), half_v(3);
  AdamW wide{expected.data(), g.data(), m.data(), v.data(), 3, 0.1, 0.9, 0.95, 1e-8, 0.1, 1, 1};
  AdamW narrow = wide;
  narrow.weight = w.data();
  narrow.first_moment = narrow.second_moment = nullptr;
  narrow.first_narrow = half_m.data();
  narrow.second_narrow = half_v.data();
  for (int step = 1; step <= 3; ++step) {
    wide.step = narrow.step = step;
    adamw(wide, 0, 3);
    adamw(narrow, 0, 3);
    CHECK(w == expected);
    // From here on the floats are what bf16 keeps of them.
    round_to_bf16(m.data(), 3);
    round_to_bf16(v.data(), 3);
    std::vector<float> kept(3);
    from_bf16(half_m.data(), kept.data(), 3);
    CHECK(kept == m);
    from_bf16(half_v.data(), kept.data(), 3);
    CHECK(kept == v);
  }
}

TEST_CASE("swiglu: its gradient reads bf16 as the floats that it stands for") {
  const std::int64_t rows = 3, columns = 37;
  std::vector<float> x, dy;
  for (std::uint64_t i = 0; i < 2 * rows * columns; ++i) {
    x.push_back(static_cast<float>(static_cast<double>(mix(i) >> 40) * 0x1p-22 - 2));
    dy.push_back(static_cast<float>(static_cast<double>(mix(i + 999) >> 40) * 0x1p-23 - 1));
  }
  std::vector<std::uint16_t> half(x.size());
  to_bf16(x.data(), 2 * columns, 2 * columns, half.data(), 0, rows);
  round_to_bf16(x.data(), std::ssize(x));
  std::vector<float> dx(x.size()), again(x.size()), dscale(3), dscale_again(3);
  SwiGluGrad op{.forward = {.x = x.data(), .rows = rows, .columns = columns},
                .dy = dy.data(),
                .dx = dx.data(),
                .dscale = dscale.data()};
  swiglu_grad(op, 0, rows);
  op.forward.x = nullptr;
  op.forward.x_narrow = half.data();
  op.dx = again.data();
  op.dscale = dscale_again.data();
  swiglu_grad(op, 0, rows);
  CHECK(again == dx);
  CHECK(dscale_again == dscale);
}

}  // namespace narrows::kernels

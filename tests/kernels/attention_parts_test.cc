// Attention over parts of the keys, merged, is attention over all of them.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <vector>

#include "base/random.h"
#include "kernels/attention.h"

namespace narrows::kernels {
namespace {

using Vector = std::vector<float>;
constexpr std::int64_t kHeads = 4, kKv = 2, kQk = 6, kV = 5, kTokens = 96;

Vector random_vector(std::int64_t n, Random& random) {
  Vector x(static_cast<std::size_t>(n));
  for (float& v : x) v = static_cast<float>(2 * random.uniform() - 1);
  return x;
}

// Rows of `columns` floats at the positions.
Vector rows_at(const Vector& x, std::int64_t columns, const std::vector<std::int32_t>& positions) {
  Vector rows;
  for (const std::int32_t p : positions) {
    rows.insert(rows.end(), x.begin() + p * columns, x.begin() + (p + 1) * columns);
  }
  return rows;
}

struct Inputs {
  Vector q, k, v, dout;
  std::int64_t window = 0;
  std::vector<std::int32_t> positions;  // of queries
};

struct Outputs {
  Vector out = Vector(kTokens * kHeads * kV), log_sum_exp = Vector(kTokens * kHeads);
};

// Over the keys at `keys`; `rows` of them, with their positions.
Attention over(const Inputs& in, const Vector& k, const Vector& v,
               const std::vector<std::int32_t>& keys, Outputs& to) {
  return {.q = {in.q.data(), kHeads * kQk, kQk},
          .k = {k.data(), kKv * kQk, kQk},
          .v = {v.data(), kKv * kV, kV},
          .out = {to.out.data(), kHeads * kV, kV},
          .log_sum_exp = to.log_sum_exp.data(),
          .batch = 1,
          .heads = kHeads,
          .kv_heads = kKv,
          .queries = std::ssize(in.positions),
          .keys = std::ssize(keys),
          .qk_dim = kQk,
          .v_dim = kV,
          .window = in.window,
          .positions = in.positions.data(),
          .key_positions = keys.data(),
          .multiply = {[](const Matmul& small, float*) { matmul(small); }, 0}};
}

void run(const Attention& op) {
  Vector scratch(static_cast<std::size_t>(attention_scratch(op)));
  for (std::int64_t u = 0; u < attention_units(op); ++u) attention(op, u, scratch.data());
}

struct Grads {
  Vector dq, dk, dv;
};
Grads gradients(const Inputs& in, const Attention& op) {
  Grads g{Vector(in.q.size()), Vector(static_cast<std::size_t>(op.keys * kKv * kQk)),
          Vector(static_cast<std::size_t>(op.keys * kKv * kV))};
  const AttentionGrad grad{.forward = op,
                           .dout = {in.dout.data(), kHeads * kV, kV},
                           .dq = {g.dq.data(), kHeads * kQk, kQk},
                           .dk = {g.dk.data(), kKv * kQk, kQk},
                           .dv = {g.dv.data(), kKv * kV, kV}};
  Vector scratch(static_cast<std::size_t>(attention_scratch(op)));
  for (std::int64_t u = 0; u < attention_units(op); ++u) attention_grad(grad, u, scratch.data());
  return g;
}

void check_equal(const Vector& a, const Vector& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::fabs(double{a[i]} - double{b[i]}));
  }
  CHECK(worst < 2e-6);
}

}  // namespace

TEST_CASE("attention: parts of the keys are merged, also where a query sees none of a part") {
  for (const std::int64_t window : {0, 7}) {
    Random random(11);
    Inputs in{random_vector(kTokens * kHeads * kQk, random),
              random_vector(kTokens * kKv * kQk, random),
              random_vector(kTokens * kKv * kV, random),
              random_vector(kTokens * kHeads * kV, random),
              window,
              {}};
    std::vector<std::int32_t> all, middle, ends;
    for (std::int32_t p = 0; p < kTokens; ++p) {
      all.push_back(p);
      (p >= 24 && p < 72 ? middle : ends).push_back(p);
    }
    in.positions = all;
    Outputs whole, merged, other;
    const Attention op = over(in, in.k, in.v, all, whole);
    run(op);
    const Vector k0 = rows_at(in.k, kKv * kQk, middle), v0 = rows_at(in.v, kKv * kV, middle);
    const Vector k1 = rows_at(in.k, kKv * kQk, ends), v1 = rows_at(in.v, kKv * kV, ends);
    const Attention first = over(in, k0, v0, middle, merged);
    run(first);
    CHECK(merged.log_sum_exp.front() == kNothing);
    run(over(in, k1, v1, ends, other));
    merge({.out = first.out,
           .log_sum_exp = merged.log_sum_exp.data(),
           .other = {other.out.data(), kHeads * kV, kV},
           .other_log_sum_exp = other.log_sum_exp.data(),
           .rows = kTokens,
           .heads = kHeads,
           .v_dim = kV},
          0, kTokens);
    check_equal(merged.out, whole.out);
    check_equal(merged.log_sum_exp, whole.log_sum_exp);

    // Backward: each part with the statistics of the whole.
    const Grads expected = gradients(in, op);
    Grads a = gradients(in, over(in, k0, v0, middle, merged));
    const Grads b = gradients(in, over(in, k1, v1, ends, merged));
    for (std::size_t i = 0; i < a.dq.size(); ++i) a.dq[i] += b.dq[i];
    check_equal(a.dq, expected.dq);
    check_equal(a.dk, rows_at(expected.dk, kKv * kQk, middle));
    check_equal(b.dv, rows_at(expected.dv, kKv * kV, ends));
  }
}

}  // namespace narrows::kernels

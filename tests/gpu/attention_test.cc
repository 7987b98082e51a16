// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <catch2/catch.hpp>
#include <optional>

#include "gpu/device.h"

namespace narrows::test {
namespace {

struct Shape {
  std::int64_t batch, heads, kv_heads, queries, keys, qk_dim, v_dim, window;
  bool scattered;  // positions are given: every other one, as of a rank that holds a part of a
                   // sequence
};

// The reference's inputs and results, in floats that bf16 holds.
struct Truth {
  Shape s;
  std::vector<float> q, k, v, dout, out, log_sum_exp, dq, dk, dv;
  std::vector<std::int32_t> positions;
};

kernels::Attention reference_op(Truth& t) {
  const Shape& s = t.s;
  kernels::Attention op;
  op.q = {t.q.data(), s.heads * s.qk_dim, s.qk_dim};
  op.k = {t.k.data(), s.kv_heads * s.qk_dim, s.qk_dim};
  op.v = {t.v.data(), s.kv_heads * s.v_dim, s.v_dim};
  op.out = {t.out.data(), s.heads * s.v_dim, s.v_dim};
  op.log_sum_exp = t.log_sum_exp.data();
  op.batch = s.batch;
  op.heads = s.heads;
  op.kv_heads = s.kv_heads;
  op.queries = s.queries;
  op.keys = s.keys;
  op.qk_dim = s.qk_dim;
  op.v_dim = s.v_dim;
  op.window = s.window;
  op.positions = t.positions.data();
  op.multiply = {[](const kernels::Matmul& m, float*) { kernels::matmul(m); }, 0};
  return op;
}

Truth truth_of(const Shape& s, std::uint64_t seed) {
  Random random(seed);
  const auto draw = [&](std::int64_t count) {
    return rounded(gpu::Type::Bf16, random_floats(count, random, 2));
  };
  Truth t{.s = s};
  const std::int64_t rows = s.batch * s.queries;
  t.q = draw(rows * s.heads * s.qk_dim);
  t.k = draw(s.batch * s.keys * s.kv_heads * s.qk_dim);
  t.v = draw(s.batch * s.keys * s.kv_heads * s.v_dim);
  t.dout = draw(rows * s.heads * s.v_dim);
  t.out.resize(t.dout.size());
  t.log_sum_exp.resize(static_cast<std::size_t>(rows * s.heads));
  t.dq.resize(t.q.size());
  t.dk.resize(t.k.size());
  t.dv.resize(t.v.size());
  for (std::int64_t i = 0; i < s.queries; ++i) {
    t.positions.push_back(
        static_cast<std::int32_t>(s.scattered ? 2 * i + 1 : s.keys - s.queries + i));
  }
  const kernels::Attention op = reference_op(t);
  // At a multiple of 64 bytes.
  std::vector<float> memory(static_cast<std::size_t>(kernels::attention_scratch(op)) + 16);
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(memory.data());
  float* const scratch = reinterpret_cast<float*>((begin + 63) / 64 * 64);
  const kernels::AttentionGrad grad{op,
                                    {t.dout.data(), s.heads * s.v_dim, s.v_dim},
                                    {t.dq.data(), s.heads * s.qk_dim, s.qk_dim},
                                    {t.dk.data(), s.kv_heads * s.qk_dim, s.qk_dim},
                                    {t.dv.data(), s.kv_heads * s.v_dim, s.v_dim}};
  for (std::int64_t u = 0; u < kernels::attention_units(op); ++u) {
    kernels::attention(op, u, scratch);
    kernels::attention_grad(grad, u, scratch);
  }
  return t;
}

void check_against(const Truth& t, Device& d) {
  const Shape& s = t.s;
  constexpr gpu::Type kBf16 = gpu::Type::Bf16;
  const std::int64_t rows = s.batch * s.queries;
  const Values q = d.values(kBf16, t.q), k = d.values(kBf16, t.k), v = d.values(kBf16, t.v);
  const Values dout = d.values(kBf16, t.dout);
  const Values out = d.result(kBf16, std::ssize(t.out));
  const Values sums = d.result(gpu::Type::F32, rows * s.heads);
  const GpuMemory positions = d.array(t.positions);
  const gpu::Attention op{.q = {q.data(), s.heads * s.qk_dim, s.qk_dim},
                          .k = {k.data(), s.kv_heads * s.qk_dim, s.qk_dim},
                          .v = {v.data(), s.kv_heads * s.v_dim, s.v_dim},
                          .out = {out.data(), s.heads * s.v_dim, s.v_dim},
                          .log_sum_exp = sums.floats(),
                          .batch = s.batch,
                          .heads = s.heads,
                          .kv_heads = s.kv_heads,
                          .queries = s.queries,
                          .keys = s.keys,
                          .qk_dim = s.qk_dim,
                          .v_dim = s.v_dim,
                          .window = s.window,
                          .positions = s.scattered ? positions.as<std::int32_t>() : nullptr};
  d.run(op);
  CHECK(distance(d.read(out), t.out) <= 1e-2);
  CHECK(distance(d.read(sums), t.log_sum_exp) <= 1e-3);

  const Values dq = d.result(kBf16, q.count), dk = d.result(kBf16, k.count),
               dv = d.result(kBf16, v.count);
  const Values dq_sums = d.result(gpu::Type::F32, q.count);
  const Values dots = d.result(gpu::Type::F32, sums.count);
  d.run(gpu::AttentionGrad{.forward = op,
                           .dout = {dout.data(), s.heads * s.v_dim, s.v_dim},
                           .dq = {dq.data(), s.heads * s.qk_dim, s.qk_dim},
                           .dk = {dk.data(), s.kv_heads * s.qk_dim, s.qk_dim},
                           .dv = {dv.data(), s.kv_heads * s.v_dim, s.v_dim},
                           .dq_sums = dq_sums.floats(),
                           .out_dots = dots.floats()});
  CHECK(distance(d.read(dq), t.dq) <= 1e-2);
  CHECK(distance(d.read(dk), t.dk) <= 1e-2);
  CHECK(distance(d.read(dv), t.dv) <= 1e-2);
}

void check(const Shape& small, const std::optional<Shape>& large = std::nullopt) {
  const Truth truth = truth_of(small, 7);
  on_each_device([&](Device& d) {
    check_against(truth, d);
    if (!d.is_small() && large.has_value()) check_against(truth_of(*large, 8), d);
  });
}

}  // namespace

TEST_CASE("gpu attention: MLA's head dims, ends of tiles in the middle of sequences") {
  check({1, 2, 2, 150, 150, 192, 128, 0, false}, Shape{2, 16, 16, 1000, 1000, 192, 128, 0, false});
}

TEST_CASE("gpu attention: groups of heads share keys and values") {
  check({2, 4, 2, 70, 70, 64, 64, 0, false}, Shape{2, 32, 4, 777, 777, 64, 64, 0, false});
  check({1, 3, 1, 65, 65, 128, 128, 0, false}, Shape{1, 24, 8, 1025, 1025, 128, 128, 0, false});
}

TEST_CASE("gpu attention: queries at the end of longer keys") {
  check({1, 1, 1, 33, 200, 128, 128, 0, false});
}

TEST_CASE("gpu attention: queries scattered over the sequence") {
  check({1, 2, 1, 80, 160, 64, 64, 0, true}, Shape{1, 8, 2, 600, 1200, 64, 64, 0, true});
}

TEST_CASE("gpu attention: a window leaves the oldest keys out") {
  check({1, 1, 1, 260, 260, 64, 64, 70, false}, Shape{1, 4, 4, 2000, 2000, 64, 64, 300, false});
}

TEST_CASE("gpu attention: head dims without a kernel are named") {
  on_each_device([](Device& d) {
    const Status status =
        d.gpu().run(gpu::Attention{.heads = 1, .kv_heads = 1, .qk_dim = 80, .v_dim = 80});
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().code == ErrorCode::Unsupported);
    CHECK(status.error().message ==
          "attention: head dims (80, 80), expected (64, 64), (128, 128) or (192, 128)");
  });
}

}  // namespace narrows::test

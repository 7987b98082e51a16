// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx_attention.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "kernels/amx.h"
#include "kernels/bf16.h"

namespace narrows::kernels {
namespace {

using Vector = std::vector<float>;
using Halves = std::vector<std::uint16_t>;

struct Shape {
  std::int64_t batch, heads, kv_heads, queries, keys, qk, v;
  std::int64_t window = 0;
  bool apart = false;  // queries and keys at every third position, keys further on than queries
};

Vector random_bf16(std::int64_t count, Random& random) {
  Vector x(static_cast<std::size_t>(count));
  for (float& value : x) value = static_cast<float>(2 * random.uniform() - 1);
  round_to_bf16(x.data(), count);
  return x;
}
Halves halves(const Vector& x) {
  Halves to(x.size());
  to_bf16(x.data(), std::ssize(x), std::ssize(x), to.data(), 0, 1);
  return to;
}
Vector floats(const Halves& x) {
  Vector to(x.size());
  from_bf16(x.data(), to.data(), std::ssize(x));
  return to;
}

std::vector<std::int32_t> positions(std::int64_t count, std::int32_t first, std::int32_t step) {
  std::vector<std::int32_t> at;
  for (std::int64_t i = 0; i < count; ++i) {
    at.push_back(first + static_cast<std::int32_t>(i) * step);
  }
  return at;
}

struct Problem {
  Shape shape;
  Vector q, k, v, dout;
  std::vector<std::int32_t> queries_at, keys_at;
};
Problem problem_of(const Shape& s) {
  Random random(static_cast<std::uint64_t>(s.queries * 1000 + s.keys));
  Problem p{s, {}, {}, {}, {}, {}, {}};
  p.q = random_bf16(s.batch * s.queries * s.heads * s.qk, random);
  p.k = random_bf16(s.batch * s.keys * s.kv_heads * s.qk, random);
  p.v = random_bf16(s.batch * s.keys * s.kv_heads * s.v, random);
  p.dout = random_bf16(s.batch * s.queries * s.heads * s.v, random);
  p.queries_at = positions(s.queries, 0, s.apart ? 3 : 1);
  p.keys_at = positions(s.keys, s.apart ? 20 : 0, s.apart ? 3 : 1);
  return p;
}

struct Results {
  Vector out, log_sum_exp, dq, dk, dv;
};
AttentionGrad op_of(const Problem& p, Results& r) {
  const Shape& s = p.shape;
  r.out.resize(p.dout.size());
  r.log_sum_exp.resize(static_cast<std::size_t>(s.batch * s.queries * s.heads));
  r.dq.resize(p.q.size());
  r.dk.resize(p.k.size());
  r.dv.resize(p.v.size());
  AttentionGrad op;
  op.forward = {.q = {p.q.data(), s.heads * s.qk, s.qk},
                .k = {p.k.data(), s.kv_heads * s.qk, s.qk},
                .v = {p.v.data(), s.kv_heads * s.v, s.v},
                .out = {r.out.data(), s.heads * s.v, s.v},
                .log_sum_exp = r.log_sum_exp.data(),
                .batch = s.batch,
                .heads = s.heads,
                .kv_heads = s.kv_heads,
                .queries = s.queries,
                .keys = s.keys,
                .qk_dim = s.qk,
                .v_dim = s.v,
                .window = s.window,
                .positions = p.queries_at.data(),
                .key_positions = p.keys_at.data(),
                .multiply = {[](const Matmul& small, float*) { matmul(small); }, 0}};
  op.dout = {p.dout.data(), s.heads * s.v, s.v};
  op.dq = {r.dq.data(), s.heads * s.qk, s.qk};
  op.dk = {r.dk.data(), s.kv_heads * s.qk, s.qk};
  op.dv = {r.dv.data(), s.kv_heads * s.v, s.v};
  return op;
}

Results plainly(const Problem& p) {
  Results r;
  const AttentionGrad op = op_of(p, r);
  Vector scratch(static_cast<std::size_t>(attention_scratch(op.forward)));
  for (std::int64_t u = 0; u < attention_units(op.forward); ++u) {
    attention(op.forward, u, scratch.data());
  }
  for (std::int64_t u = 0; u < attention_units(op.forward); ++u) {
    attention_grad(op, u, scratch.data());
  }
  return r;
}

Results on_tiles(const Problem& p, bool narrow) {
  Results r;
  AttentionGrad op = op_of(p, r);
  op.forward.narrow = true;
  const Halves q = halves(p.q), k = halves(p.k), v = halves(p.v);
  Halves out(p.dout.size());
  if (narrow) {
    const Shape& s = p.shape;
    op.forward.q_narrow = {q.data(), s.heads * s.qk, s.qk};
    op.forward.k_narrow = {k.data(), s.kv_heads * s.qk, s.qk};
    op.forward.v_narrow = {v.data(), s.kv_heads * s.v, s.v};
    op.forward.out_narrow = {out.data(), s.heads * s.v, s.v};
    op.forward.q = op.forward.k = op.forward.v = {};
    op.forward.out = {};
  }
  const std::unique_ptr<void, void (*)(void*)> scratch(
      std::aligned_alloc(64, static_cast<std::size_t>(amx_attention_scratch(op.forward)) * 4),
      std::free);
  float* const memory = static_cast<float*>(scratch.get());
  std::fill_n(memory, amx_attention_scratch(op.forward), std::nanf(""));
  const std::int64_t units = attention_units(op.forward);
  for (std::int64_t u = 0; u < units; ++u) amx_attention(op.forward, u, memory);
  std::fill_n(memory, amx_attention_scratch(op.forward), std::nanf(""));
  for (std::int64_t u = 0; u < units; ++u) amx_attention_grad(op, u, memory);
  if (narrow) r.out = floats(out);
  return r;
}

// The norm of the difference over the norm.
double error(const Vector& found, const Vector& expected) {
  double difference = 0, size = 1e-30;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    size += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(difference / size);
}

}  // namespace

TEST_CASE("amx attention: the same as in floats, but for the rounding of probabilities") {
  if (!has_amx()) return;
  for (const Shape& s :
       {Shape{2, 2, 2, 96, 96, 64, 32}, Shape{1, 4, 2, 256, 256, 96, 64},
        Shape{1, 2, 1, 150, 150, 40, 24}, Shape{2, 1, 1, 7, 7, 6, 5},
        Shape{1, 2, 2, 200, 200, 48, 80, 50}, Shape{1, 2, 1, 90, 60, 32, 32, 0, true},
        Shape{1, 1, 1, 33, 17, 16, 16, 0, true}}) {
    const Problem p = problem_of(s);
    const Results plain = plainly(p);
    for (const bool narrow : {false, true}) {
      INFO(s.queries << " queries, " << s.keys << " keys, narrow " << narrow);
      const Results found = on_tiles(p, narrow);
      CHECK(error(found.out, plain.out) < 4e-3);
      CHECK(error(found.log_sum_exp, plain.log_sum_exp) < 1e-6);
      CHECK(error(found.dq, plain.dq) < 6e-3);
      CHECK(error(found.dk, plain.dk) < 6e-3);
      CHECK(error(found.dv, plain.dv) < 4e-3);
    }
  }
}

}  // namespace narrows::kernels

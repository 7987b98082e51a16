// Every backward kernel against finite differences of its forward: the derivative of a random
// weighting of the outputs along a random direction of the inputs, by central differences. Forward
// runs in f32, so that the step is chosen for a relative error near 1e-3; a wrong term shows as a
// difference of the order of one.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/gelu.h"
#include "kernels/head_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/loss.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/router.h"

namespace narrows::kernels {
namespace {

using Vector = std::vector<float>;

Vector random_vector(std::size_t n, Random& random) {
  Vector x(n);
  for (float& v : x) v = static_cast<float>(2 * random.uniform() - 1);
  return x;
}

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

Vector moved(const Vector& x, const Vector& direction, double by) {
  Vector y = x;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += static_cast<float>(by) * direction[i];
  return y;
}

// `weigh(x)` is the weighted sum of the outputs at x, `gradient` what the kernel says at `x`.
void check_gradient(const std::function<double(const Vector&)>& weigh, const Vector& x,
                    const Vector& gradient, Random& random) {
  constexpr double kStep = 4e-3;
  for (int trial = 0; trial < 4; ++trial) {
    const Vector direction = random_vector(x.size(), random);
    const double difference =
        (weigh(moved(x, direction, kStep)) - weigh(moved(x, direction, -kStep))) / (2 * kStep);
    const double scale = std::sqrt(dot(gradient, gradient));
    CHECK(dot(gradient, direction) == Approx(difference).margin(3e-3 * scale).epsilon(0));
  }
}

constexpr std::int64_t kRows = 5;

}  // namespace

TEST_CASE("gradients: RMSNorm, its weight, and what passes beside it") {
  Random random(1);
  constexpr std::int64_t kColumns = 37;
  constexpr std::int64_t kStride = 41;
  const Vector x = random_vector(kRows * kStride, random);
  const Vector w = random_vector(kColumns, random);
  const Vector dy = random_vector(kRows * kStride, random);
  const auto weigh = [&](const Vector& at, const Vector& weight) {
    Vector y(at.size());
    norm({at.data(), weight.data(), y.data(), kRows, kColumns, kStride}, 0, kRows);
    return dot(y, dy);
  };
  Vector dx(x.size()), dw(w.size()), inverse(kRows);
  const NormGrad op{.forward = {x.data(), w.data(), nullptr, kRows, kColumns, kStride},
                    .dy = dy.data(),
                    .dx = dx.data(),
                    .inverse_rms = inverse.data(),
                    .dweight = dw.data()};
  norm_grad(op, 0, kRows);
  norm_weight_grad(op, 0, kColumns);
  check_gradient([&](const Vector& at) { return weigh(at, w); }, x, dx, random);
  check_gradient([&](const Vector& at) { return weigh(x, at); }, w, dw, random);
}

TEST_CASE("gradients: SwiGLU and the routing weight") {
  Random random(2);
  constexpr std::int64_t kColumns = 19;
  const Vector x = random_vector(kRows * 2 * kColumns, random);
  const Vector scale = random_vector(kRows, random);
  const Vector dy = random_vector(kRows * kColumns, random);
  const auto weigh = [&](const Vector& at, const Vector& s) {
    Vector y(dy.size());
    swiglu({at.data(), s.data(), y.data(), kRows, kColumns}, 0, kRows);
    return dot(y, dy);
  };
  Vector dx(x.size()), dscale(scale.size());
  swiglu_grad({.forward = {x.data(), scale.data(), nullptr, kRows, kColumns},
               .dy = dy.data(),
               .dx = dx.data(),
               .dscale = dscale.data()},
              0, kRows);
  check_gradient([&](const Vector& at) { return weigh(at, scale); }, x, dx, random);
  check_gradient([&](const Vector& at) { return weigh(x, at); }, scale, dscale, random);
}

TEST_CASE("gradients: assembly of keys") {
  Random random(3);
  constexpr std::int64_t kHeads = 3, kNope = 5, kRope = 4, kValue = 6, kLatent = 7;
  const RotaryTable table = rotary_table(64, kRope, 10000);
  std::vector<std::int32_t> positions = {0, 3, 17, 40, 63};
  const Vector kv = random_vector(kRows * kHeads * (kNope + kValue), random);
  const Vector shared = random_vector(kRows * kLatent, random);
  const Vector dkey = random_vector(kRows * kHeads * (kNope + kRope), random);
  KeyAssembly op{.kv = kv.data(),
                 .shared = shared.data(),
                 .shared_stride = kLatent,
                 .rows = kRows,
                 .heads = kHeads,
                 .nope = kNope,
                 .value = kValue,
                 .positions = positions.data(),
                 .table = &table};
  const auto weigh = [&](const Vector& at_kv, const Vector& at_shared) {
    Vector key(dkey.size());
    op.kv = at_kv.data();
    op.shared = at_shared.data();
    op.key = key.data();
    assemble_keys(op, 0, kRows);
    return dot(key, dkey);
  };
  Vector dkv(kv.size()), dshared(shared.size());
  assemble_keys_grad({op, dkey.data(), dkv.data(), dshared.data()}, 0, kRows);
  check_gradient([&](const Vector& at) { return weigh(at, shared); }, kv, dkv, random);
  check_gradient([&](const Vector& at) { return weigh(kv, at); }, shared, dshared, random);
}

TEST_CASE("gradients: attention with groups of heads, gaps between queries, and a window") {
  Random random(4);
  constexpr std::int64_t kBatch = 2, kHeads = 4, kKv = 2, kQueries = 70, kKeys = 90, kQk = 6,
                         kV = 5;
  std::vector<std::int32_t> positions(kQueries);
  std::iota(positions.begin(), positions.begin() + 30, 0);
  std::iota(positions.begin() + 30, positions.end(), 50);
  const Vector q = random_vector(kBatch * kQueries * kHeads * kQk, random);
  const Vector k = random_vector(kBatch * kKeys * kKv * kQk, random);
  const Vector v = random_vector(kBatch * kKeys * kKv * kV, random);
  const Vector dout = random_vector(kBatch * kQueries * kHeads * kV, random);
  for (const std::int64_t window : {0, 9}) {
    Vector out(dout.size()), lse(kBatch * kQueries * kHeads), scratch;
    Attention op{.out = {out.data(), kHeads * kV, kV},
                 .log_sum_exp = lse.data(),
                 .batch = kBatch,
                 .heads = kHeads,
                 .kv_heads = kKv,
                 .queries = kQueries,
                 .keys = kKeys,
                 .qk_dim = kQk,
                 .v_dim = kV,
                 .window = window,
                 .positions = positions.data(),
                 .multiply = {[](const Matmul& small, float*) { matmul(small); }, 0}};
    scratch.resize(static_cast<std::size_t>(attention_scratch(op)));
    const auto weigh = [&](const Vector& at_q, const Vector& at_k, const Vector& at_v) {
      op.q = {at_q.data(), kHeads * kQk, kQk};
      op.k = {at_k.data(), kKv * kQk, kQk};
      op.v = {at_v.data(), kKv * kV, kV};
      for (std::int64_t u = 0; u < attention_units(op); ++u) attention(op, u, scratch.data());
      return dot(out, dout);
    };
    weigh(q, k, v);
    Vector dq(q.size()), dk(k.size()), dv(v.size());
    const AttentionGrad grad{.forward = op,
                             .dout = {dout.data(), kHeads * kV, kV},
                             .dq = {dq.data(), kHeads * kQk, kQk},
                             .dk = {dk.data(), kKv * kQk, kQk},
                             .dv = {dv.data(), kKv * kV, kV}};
    for (std::int64_t u = 0; u < attention_units(op); ++u) attention_grad(grad, u, scratch.data());
    check_gradient([&](const Vector& at) { return weigh(at, k, v); }, q, dq, random);
    check_gradient([&](const Vector& at) { return weigh(q, at, v); }, k, dk, random);
    check_gradient([&](const Vector& at) { return weigh(q, k, at); }, v, dv, random);
  }
}

TEST_CASE("gradients: router, the choice of experts held fast") {
  Random random(5);
  constexpr std::int64_t kExperts = 8, kTop = 3;
  for (const bool sigmoid : {false, true}) {
    for (const bool normalise : {false, true}) {
      Vector logits = random_vector(kRows * kExperts, random);
      // Far enough apart that a step does not change who is chosen.
      for (std::size_t i = 0; i < logits.size(); ++i) {
        logits[i] = 0.1f * logits[i] + 0.25f * static_cast<float>(3 * i % kExperts);
      }
      Vector chosen(kRows * 3 * kTop);
      const Vector dweights = random_vector(kRows * kTop, random);
      Router op{.logits = logits.data(),
                .chosen = chosen.data(),
                .rows = kRows,
                .experts = kExperts,
                .top_k = kTop,
                .sigmoid = sigmoid,
                .normalise = normalise,
                .scale = 1.5f};
      const auto weigh = [&](const Vector& at) {
        Vector fresh(chosen.size());
        Router moved_op = op;
        moved_op.logits = at.data();
        moved_op.chosen = fresh.data();
        route(moved_op, 0, kRows);
        double sum = 0;
        // By expert, as the order within the choice may change.
        for (std::size_t r = 0; r < kRows; ++r) {
          for (std::size_t a = 0; a < kTop; ++a) {
            for (std::size_t b = 0; b < kTop; ++b) {
              const std::size_t row = r * 3 * kTop;
              if (fresh[row + a] != chosen[row + b]) continue;
              sum += double{fresh[row + kTop + a]} * double{dweights[r * kTop + b]};
            }
          }
        }
        return sum;
      };
      route(op, 0, kRows);
      Vector dlogits(logits.size());
      route_grad({op, dweights.data(), dlogits.data()}, 0, kRows);
      check_gradient(weigh, logits, dlogits, random);
    }
  }
}

TEST_CASE("gradients: the loss that balances experts") {
  Random random(7);
  constexpr std::int64_t kExperts = 6, kTop = 2;
  const std::vector<std::int32_t> sequence = {0, 0, 1, 1, 1};
  const Vector pull = random_vector(2 * kExperts, random);
  for (const bool sigmoid : {false, true}) {
    const Vector logits = random_vector(kRows * kExperts, random);
    Vector chosen(kRows * 3 * kTop), dlogits(logits.size()), pulled(kRows);
    const Vector none(kRows * kTop);
    Router op{.logits = logits.data(),
              .chosen = chosen.data(),
              .rows = kRows,
              .experts = kExperts,
              .top_k = kTop,
              .sigmoid = sigmoid};
    route(op, 0, kRows);
    const auto loss_of = [&](const Vector& at, Vector& grads) {
      Router there = op;
      there.logits = at.data();
      route_grad({there, none.data(), grads.data(), pull.data(), sequence.data(), pulled.data()}, 0,
                 kRows);
      return std::accumulate(pulled.begin(), pulled.end(), 0.0);
    };
    double by_hand = 0;  // of the softmax router's first row
    const double total = std::accumulate(logits.begin(), logits.begin() + kExperts, 0.0,
                                         [](double sum, float x) { return sum + std::exp(x); });
    for (std::size_t e = 0; e < kExperts; ++e) {
      by_hand += double{pull[e]} * std::exp(double{logits[e]}) / total;
    }
    loss_of(logits, dlogits);
    if (!sigmoid) CHECK(pulled.front() == Approx(by_hand).epsilon(1e-5));
    const auto weigh = [&](const Vector& at) {
      Vector ignored(at.size());
      return loss_of(at, ignored);
    };
    check_gradient(weigh, logits, dlogits, random);
  }
}

TEST_CASE("gradients: cross-entropy over a split vocabulary") {
  Random random(6);
  constexpr std::int64_t kVocab = 23, kPart = 12;
  const Vector logits = random_vector(kRows * kVocab, random);
  const std::vector<std::int32_t> targets = {0, 11, 12, 22, 5};
  const auto parts_of = [&](Vector& first, Vector& second, const Vector& at) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      first.insert(first.end(), at.begin() + r * kVocab, at.begin() + r * kVocab + kPart);
      second.insert(second.end(), at.begin() + r * kVocab + kPart, at.begin() + (r + 1) * kVocab);
    }
    return std::vector<LogitPart>{
        {first.data(), kRows, kPart, kPart, 0, targets.data()},
        {second.data(), kRows, kVocab - kPart, kVocab - kPart, kPart, targets.data()}};
  };
  const auto softmax_of = [&](const std::vector<LogitPart>& parts) {
    std::vector<PartialSoftmax> a(kRows), b(kRows);
    partial_softmax(parts[0], a.data(), 0, kRows);
    partial_softmax(parts[1], b.data(), 0, kRows);
    for (std::size_t r = 0; r < a.size(); ++r) a[r] = join(a[r], b[r]);
    return a;
  };
  const auto weigh = [&](const Vector& at) {
    Vector first, second;
    double sum = 0;
    for (const PartialSoftmax& row : softmax_of(parts_of(first, second, at))) {
      sum += cross_entropy(row);
    }
    return sum;
  };
  Vector first, second, gradient;
  const std::vector<LogitPart> parts = parts_of(first, second, logits);
  const std::vector<PartialSoftmax> whole = softmax_of(parts);
  for (const LogitPart& part : parts) loss_grad(part, whole.data(), 1.0f, 0, kRows);
  for (std::int64_t r = 0; r < kRows; ++r) {
    gradient.insert(gradient.end(), first.begin() + r * kPart, first.begin() + (r + 1) * kPart);
    gradient.insert(gradient.end(), second.begin() + r * (kVocab - kPart),
                    second.begin() + (r + 1) * (kVocab - kPart));
  }
  check_gradient(weigh, logits, gradient, random);
}

TEST_CASE("gradients: LayerNorm, its weight and its bias") {
  Random random(8);
  constexpr std::int64_t kColumns = 37;
  const Vector x = random_vector(kRows * kColumns, random);
  const Vector w = random_vector(kColumns, random);
  const Vector b = random_vector(kColumns, random);
  const Vector dy = random_vector(kRows * kColumns, random);
  const auto weigh = [&](const Vector& at, const Vector& weight, const Vector& bias) {
    Vector y(at.size());
    layer_norm({at.data(), weight.data(), bias.data(), y.data(), kRows, kColumns}, 0, kRows);
    return dot(y, dy);
  };
  Vector dx(x.size()), dw(w.size()), db(b.size()), statistics(2 * kRows);
  const LayerNormGrad op{.forward = {x.data(), w.data(), b.data(), nullptr, kRows, kColumns},
                         .dy = dy.data(),
                         .dx = dx.data(),
                         .statistics = statistics.data(),
                         .dweight = dw.data(),
                         .dbias = db.data()};
  layer_norm_grad(op, 0, kRows);
  layer_norm_weight_grad(op, 0, kColumns);
  check_gradient([&](const Vector& at) { return weigh(at, w, b); }, x, dx, random);
  check_gradient([&](const Vector& at) { return weigh(x, at, b); }, w, dw, random);
  check_gradient([&](const Vector& at) { return weigh(x, w, at); }, b, db, random);
}

namespace {

// Of a head norm of rows of 50.
void check_head_norm(const HeadNorm& shape) {
  Random random(9);
  constexpr std::int64_t kStride = 50;
  const Vector x = random_vector(kRows * kStride, random);
  const Vector w = random_vector(shape.dim + key_width(shape), random);
  const Vector dy = random_vector(kRows * kStride, random);
  const auto at_weight = [&](const Vector& at, const Vector& weight, float* y) {
    HeadNorm op = shape;
    op.x = at.data();
    op.weight = weight.data();
    op.y = y;
    op.rows = kRows;
    op.stride = kStride;
    return op;
  };
  const auto weigh = [&](const Vector& at, const Vector& weight) {
    Vector y(at.size());
    head_norm(at_weight(at, weight, y.data()), 0, kRows);
    return dot(y, dy);
  };
  Vector dx(x.size()), dw(w.size());
  Vector inverse(static_cast<std::size_t>(kRows * (shape.heads + shape.key_heads)));
  const HeadNormGrad op{at_weight(x, w, nullptr), dy.data(), dx.data(), inverse.data(), dw.data()};
  head_norm_grad(op, 0, kRows);
  head_norm_weight_grad(op, 0, shape.dim);
  check_gradient([&](const Vector& at) { return weigh(at, w); }, x, dx, random);
  check_gradient([&](const Vector& at) { return weigh(x, at); }, w, dw, random);
}

}  // namespace

TEST_CASE("gradients: norms of heads, of queries and of keys, each or all together") {
  check_head_norm({.heads = 4, .key_heads = 2, .dim = 6});
  check_head_norm({.heads = 1, .key_heads = 1, .dim = 24, .key_dim = 12});
}

TEST_CASE("gradients: GELU, and its value by the hyperbolic tangent") {
  Random random(10);
  Vector x = random_vector(64, random);
  for (float& v : x) v *= 3;
  const Vector dy = random_vector(x.size(), random);
  const std::int64_t n = std::ssize(x);
  const auto weigh = [&](const Vector& at) {
    Vector y(at.size());
    gelu({at.data(), y.data(), n}, 0, n);
    return dot(y, dy);
  };
  Vector y(x.size()), dx(x.size());
  gelu({x.data(), y.data(), n}, 0, n);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = double{x[i]};
    const double u = std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v);
    CHECK(y[i] == Approx(0.5 * v * (1 + std::tanh(u))).margin(1e-6));
  }
  gelu_grad({{x.data(), nullptr, n}, dy.data(), dx.data()}, 0, n);
  check_gradient(weigh, x, dx, random);
}

TEST_CASE("gradients: biases, and a sum behind a gate") {
  Random random(12);
  constexpr std::int64_t kColumns = 21;
  const Vector a = random_vector(kRows * kColumns, random);
  const Vector x = random_vector(kRows * kColumns, random);
  const Vector gate = random_vector(kRows, random);
  const Vector bias = random_vector(kColumns, random);
  const Vector dy = random_vector(kRows * kColumns, random);
  const auto weigh = [&](const Vector& at, const Vector& at_gate, const Vector& at_bias) {
    Vector y(dy.size());
    gated_sum({a.data(), at.data(), at_gate.data(), y.data(), kRows, kColumns}, 0, kRows);
    add_bias({y.data(), at_bias.data(), kRows, kColumns}, 0, kRows);
    return dot(y, dy);
  };
  Vector dx(x.size()), dgate(gate.size()), dbias(bias.size());
  gated_sum_grad({.forward = {a.data(), x.data(), gate.data(), nullptr, kRows, kColumns},
                  .dy = dy.data(),
                  .dx = dx.data(),
                  .dgate = dgate.data()},
                 0, kRows);
  bias_grad({dy.data(), dbias.data(), kRows, kColumns}, 0, kColumns);
  check_gradient([&](const Vector& at) { return weigh(at, gate, bias); }, x, dx, random);
  check_gradient([&](const Vector& at) { return weigh(x, at, bias); }, gate, dgate, random);
  check_gradient([&](const Vector& at) { return weigh(x, gate, at); }, bias, dbias, random);
}

}  // namespace narrows::kernels

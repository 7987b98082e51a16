// Which ops a model's plans are timed by, and that each runs the work it is called after.
// SPDX-License-Identifier: Apache-2.0
#include "measure/shapes.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "measure/fake_backend.h"
#include "model/small_models.h"
#include "runtime/cpu_backend.h"

namespace narrows {
namespace {

ModelSpec gqa() {
  ModelSpec m = testing::small_gqa();
  m.vocab = 80;
  return m;
}

ModelSpec layer_norm_model() {
  ModelSpec m = gqa();
  m.name = "small-layer-norm";
  m.norm = NormKind::Layer;
  m.activation = Activation::Gelu;
  return m;
}

ModelSpec head_norm_model() {
  ModelSpec m = gqa();
  m.name = "small-head-norm";
  m.attention.qk_norm = QkNorm::PerHead;
  return m;
}

ShapeSpace space_of(int ranks) {
  ShapeSpace space;
  space.ranks = ranks;
  space.sequence = 16;
  space.global_batch = 4;
  space.fusions.wide = true;
  space.fusions.norm_residual = false;
  return space;
}

}  // namespace

TEST_CASE("shapes: a dense model on one rank has these ops") {
  ShapeSpace space = space_of(1);
  space.recipes = {Recipe::F32};
  space.most_micro_batch = 1;
  std::map<std::string, std::set<int>> directions;  // by op
  for (const OpCase& c : cases_of(gqa(), space))
    directions[c.name].insert(static_cast<int>(c.what.direction));
  using Set = std::set<int>;
  CHECK(directions["qkv"] == Set{0, 1, 2});
  CHECK(directions["o_proj"] == Set{0, 1, 2});
  CHECK(directions["ffn gate_up"] == Set{0, 1, 2});
  CHECK(directions["ffn down"] == Set{0, 1, 2});
  CHECK(directions["head"] == Set{0, 1, 2});
  CHECK(directions["attention"] == Set{0, 1});
  CHECK(directions["input norm"] == Set{0, 1});  // all norms of one size are one case
  CHECK(directions["rope"] == Set{0, 1});
  CHECK(directions["ffn activation"] == Set{0, 1});
  CHECK(directions["embedding"] == Set{0, 2});
  CHECK(directions["loss"] == Set{0});
  CHECK(directions["input norm residual add"] == Set{0});
  CHECK(directions["optimizer"] == Set{0});
}

TEST_CASE("shapes: no case is there twice, and their number grows with the ways to divide work") {
  std::size_t before = 0;
  for (const int ranks : {1, 2, 4}) {
    const std::vector<OpCase> cases = cases_of(testing::small_mla(), space_of(ranks));
    std::set<std::string> keys;
    for (const OpCase& c : cases) keys.insert(key_of(c.what));
    CHECK(keys.size() == cases.size());
    CHECK(cases.size() > before);
    before = cases.size();
  }
}

TEST_CASE("shapes: each micro-batch doubles the rows of a family") {
  std::set<double> rows;
  for (const OpCase& c : cases_of(gqa(), space_of(1))) {
    const bool is_it =
        c.name == "qkv" && c.what.recipe == Recipe::F32 && c.what.direction == Direction::Forward;
    if (is_it) rows.insert(c.what.matmul.m.expected);
  }
  CHECK(rows == std::set<double>{16, 32, 64});
}

TEST_CASE("shapes: a division that heads or experts do not allow is left out") {
  ModelSpec model = gqa();  // two key-value heads
  int widest = 1;
  for (const Sharding& s : shardings_of(model, space_of(4))) widest = std::max(widest, s.tp);
  CHECK(widest == 2);
}

TEST_CASE("op cases: matmuls multiply what their shape says in every direction") {
  RotatingMemory memory(1 * MiB);
  int seen = 0;
  for (const OpCase& c : cases_of(testing::small_mla(), space_of(2))) {
    if (c.what.family != KernelFamily::Matmul || c.what.matmul.n > 512) continue;
    testing::FakeBackend backend;
    c.run(backend, memory);
    const MatmulShape& s = c.what.matmul;
    INFO(c.name);
    CHECK(backend.multiplied / flop ==
          Approx(2 * s.m.expected * static_cast<double>(s.n) * static_cast<double>(s.k)));
    ++seen;
  }
  CHECK(seen > 100);
}

TEST_CASE("op cases: moves of bf16 are cases of their own where the backend makes it, and run") {
  const auto moves_of_bf16 = [](const std::vector<OpCase>& cases) {
    return std::count_if(cases.begin(), cases.end(), [](const OpCase& c) {
      return c.what.family == KernelFamily::Memory && c.what.recipe == Recipe::Bf16;
    });
  };
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  for (const ModelSpec& model : {testing::small_mla(), gqa()}) {
    ShapeSpace space = space_of(2);
    space.recipes = {Recipe::F32, Recipe::Bf16};
    CHECK(moves_of_bf16(cases_of(model, space)) == 0);
    space.makes_bf16 = true;
    const std::vector<OpCase> cases = cases_of(model, space);
    CHECK(moves_of_bf16(cases) > 10);
    if (!backend->makes_bf16()) continue;
    RotatingMemory memory(1 * MiB);
    for (const OpCase& c : cases) c.run(*backend, memory);
  }
}

TEST_CASE("op cases: norms and activations are the model's own") {
  RotatingMemory memory(1 * MiB);
  const auto all_of = [&](const ModelSpec& model) {
    ShapeSpace space = space_of(1);
    space.recipes = {Recipe::F32};
    space.most_micro_batch = 1;
    auto backend = std::make_unique<testing::FakeBackend>();
    for (const OpCase& c : cases_of(model, space)) c.run(*backend, memory);
    return backend;
  };
  const auto plain = all_of(gqa());
  CHECK((plain->norms == 2 && plain->layer_norms == 0 && plain->head_norms == 0));
  CHECK((plain->swiglus == 2 && plain->gelus == 0));
  const auto old = all_of(layer_norm_model());
  CHECK((old->norms == 0 && old->layer_norms == 2));
  CHECK((old->swiglus == 0 && old->gelus == 2));
  const auto heads = all_of(head_norm_model());
  CHECK((heads->norms == 2 && heads->head_norms == 2));
}

TEST_CASE("op cases: a matmul in fp8 is among the rates, and multiplies as much") {
  RotatingMemory memory(1 * MiB);
  const std::vector<OpCase> rates = rate_cases({Recipe::F32, Recipe::Bf16});
  int fp8 = 0;
  for (const OpCase& c : rates) {
    if (c.what.recipe != Recipe::Fp8Block) continue;
    ++fp8;
    testing::FakeBackend backend;
    c.run(backend, memory);
    CHECK(backend.multiplied / flop == Approx(2.0 * 1024 * 1024 * 1024));
  }
  CHECK(fp8 == 1);
}

TEST_CASE("op cases: every one runs on the processors' backend, again and again") {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  RotatingMemory memory(1 * MiB);
  for (const ModelSpec& model :
       {testing::small_mla(), gqa(), layer_norm_model(), head_norm_model()}) {
    for (const OpCase& c : cases_of(model, space_of(4))) {
      if (c.what.family == KernelFamily::Matmul && c.what.matmul.n > 512) continue;
      INFO(model.name << ": " << c.name);
      for (int i = 0; i < 3; ++i) c.run(*backend, memory);
      CHECK(c.run);
    }
  }
}

TEST_CASE("rotating memory: what is read comes from all over the range and is never written") {
  RotatingMemory memory(64 * KiB);
  std::set<const float*> places;
  for (int i = 0; i < 32; ++i) {
    memory.reserve(1000, 1000);
    const float* const in = memory.input(1000);
    float* const out = memory.output(1000);
    places.insert(in);
    for (int j = 0; j < 1000; ++j) out[j] = 1e30f;
    for (int j = 0; j < 1000; ++j) REQUIRE((in[j] >= -0.5f && in[j] < 0.5f));
  }
  CHECK(places.size() >= 10);
}

TEST_CASE("rotating memory: what was made just before lies where it lay") {
  RotatingMemory memory(64 * KiB);
  memory.reserve(1000, 1000);
  const float* const in = memory.recent_input(600);
  const float* const second = memory.recent_input(400);
  float* const out = memory.recent_output(1000);
  CHECK(second >= in + 600);
  memory.reserve(1000, 1000);
  CHECK(memory.recent_input(600) == in);
  CHECK(memory.recent_output(1000) == out);
}

TEST_CASE("rotating memory: an op larger than the range gets its room") {
  RotatingMemory memory(4 * KiB);
  memory.reserve(100'000, 50'000);
  const float* const a = memory.input(60'000);
  const float* const b = memory.input(40'000);
  CHECK(b - a >= 60'000);
  float* const out = memory.output(50'000);
  out[49'999] = 1;
  CHECK(a[59'999] < 0.5f);
}

}  // namespace narrows

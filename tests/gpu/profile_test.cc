// A model's ops timed on a GPU: what becomes of each, on the emulation (whose times say nothing)
// and on the machine's GPU.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <set>

#include "gpu/device.h"
#include "measure/gpu_profile.h"
#include "measure/shapes.h"
#include "model/small_models.h"

namespace narrows::test {
namespace {

// Of head dims that the kernels have; small enough for the emulation.
ModelSpec dense_model() {
  ModelSpec m = testing::small_gqa();
  m.hidden = 128;
  m.attention = {.kind = AttentionKind::Gqa, .heads = 2, .kv_heads = 1, .head_dim = 64};
  return m;
}

ModelSpec expert_model() {
  ModelSpec m = testing::small_mla();
  m.hidden = 64;
  return m;
}

std::vector<OpCase> cases_of_one_rank(const ModelSpec& model, Recipe recipe) {
  ShapeSpace space;
  space.sequence = 64;
  space.most_micro_batch = 1;
  space.recipes = {recipe};
  space.fusions.norm_residual = false;
  space.on_gpu = true;
  std::vector<OpCase> cases = cases_of(model, space);
  // What the emulation is slow at: matmuls are ours in fp8 and of experts.
  const auto is_large = [](const OpCase& c) {
    const MatmulShape& s = c.what.matmul;
    const bool is_ours = c.what.recipe == Recipe::Fp8Block || s.groups > 1;
    return c.extent.count() > 1 << 16 ||
           (is_ours &&
            s.m.expected * static_cast<double>(s.n) * static_cast<double>(s.k) > 1 << 22);
  };
  std::erase_if(cases, is_large);
  return cases;
}

Seconds now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count() * sec;
}

GpuProfileOptions options_of(std::vector<OpCase> cases) {
  GpuProfileOptions options;
  options.budget = 600 * sec;
  options.rules = {.warm = 0, .samples = 3};
  options.cases = std::move(cases);
  options.now = now;
  return options;
}

struct Seen {
  std::map<std::string, KernelObservation> rows;
  GpuProfileSummary summary;
};
Seen profile(Device& device, const GpuProfileOptions& options) {
  Seen seen;
  GpuProfileEvents events;
  events.kernel = [&](const KernelObservation& row) -> Status {
    CHECK(row.what.time > Seconds());
    // The emulation runs on this machine's processors: one of the three may be an interruption.
    CHECK(row.spread.samples >= 2);
    CHECK(row.spread.samples <= 3);
    CHECK(seen.rows.emplace(key_of(row.what), row).second);
    return {};
  };
  const Result<GpuProfileSummary> done = profile_gpu(device.gpu(), options, events);
  if (!done) FAIL(done.error().message);
  seen.summary = *done;
  return seen;
}

int with(const Seen& seen, const std::string& memory_class) {
  return static_cast<int>(std::count_if(seen.rows.begin(), seen.rows.end(), [&](const auto& row) {
    return row.second.what.memory_class == memory_class;
  }));
}

}  // namespace

TEST_CASE("gpu profile: a dense model's ops become rows, forward and backward") {
  on_each_device([](Device& d) {
    const Seen seen = profile(d, options_of(cases_of_one_rank(dense_model(), Recipe::Bf16)));
    int attention = 0, matmuls = 0;
    for (const auto& [key, row] : seen.rows) {
      attention += row.what.family == KernelFamily::Attention;
      matmuls += row.what.family == KernelFamily::Matmul;
    }
    CHECK(attention == 2);
    CHECK(with(seen, "norm") == 2);
    CHECK(with(seen, "rope") == 2);
    CHECK(with(seen, "activation") == 2);
    CHECK(with(seen, "embedding") == 2);
    CHECK(with(seen, "loss") == 2);
    CHECK(with(seen, "optimizer") > 0);
    CHECK(with(seen, "elementwise") == 1);
    CHECK(seen.summary.measured == static_cast<int>(seen.rows.size()));
    // The emulation has no cuBLASLt, and says so for every dense matmul in bf16.
    const auto refused = seen.summary.refused.find("the emulated device has no cuBLASLt");
    const int missing = refused == seen.summary.refused.end() ? 0 : refused->second;
    CHECK(matmuls + missing >= 5 * 3);
    CHECK((missing == 0) == (d.name() == "gpu"));
  });
}

TEST_CASE("gpu profile: experts are routed, picked and weighed") {
  on_each_device([](Device& d) {
    const Seen seen = profile(d, options_of(cases_of_one_rank(expert_model(), Recipe::Bf16)));
    CHECK(with(seen, "router") == 2);
    CHECK(std::any_of(seen.rows.begin(), seen.rows.end(),
                      [](const auto& row) { return row.second.what.matmul.groups > 1; }));
    CHECK(with(seen, "permute") > 0);
    CHECK(with(seen, "activation") > 0);
  });
}

TEST_CASE("gpu profile: in fp8 what is quantised is a row too") {
  on_each_device([](Device& d) {
    const Seen seen = profile(d, options_of(cases_of_one_rank(dense_model(), Recipe::Fp8Block)));
    CHECK(with(seen, "quantise") > 0);
  });
}

TEST_CASE("gpu profile: matmuls of experts in fp8 are timed in all three directions") {
  on_each_device([](Device& d) {
    const Seen seen = profile(d, options_of(cases_of_one_rank(expert_model(), Recipe::Fp8Block)));
    std::set<Direction> directions;
    for (const auto& [key, row] : seen.rows) {
      if (row.what.matmul.groups > 1 && row.what.recipe == Recipe::Fp8Block)
        directions.insert(row.what.direction);
    }
    CHECK(directions.size() == 3);
    for (const auto& [why, count] : seen.summary.refused) CHECK(why.find("fp8") == why.npos);
  });
}

TEST_CASE("gpu profile: what is known is left out, and the budget ends it") {
  on_each_device([](Device& d) {
    GpuProfileOptions options = options_of(cases_of_one_rank(dense_model(), Recipe::Bf16));
    const Seen first = profile(d, options);
    for (const auto& [key, row] : first.rows) options.known.insert(key);
    const Seen second = profile(d, options);
    CHECK(second.rows.empty());
    CHECK(second.summary.known == static_cast<int>(first.rows.size()));
    options.known.clear();
    options.budget = Seconds();
    CHECK(profile(d, options).rows.empty());
  });
}

TEST_CASE("gpu profile: a device without kernel records is timed by events, and that is said") {
  on_each_device([](Device& d) {
    if (d.name() == "gpu") return;
    CHECK(profile(d, options_of(cases_of_one_rank(dense_model(), Recipe::Bf16))).summary.by_events);
  });
}

TEST_CASE("gpu floors: matmuls, attention and moves in closed form") {
  GpuWork work;
  work.matmul = {exactly(256), 512, 1024, 1};
  CHECK(floor_of(work).flops == 2.0 * 256 * 512 * 1024);
  CHECK(floor_of(work).bytes == 2.0 * (256 * 1024 + 512 * 1024 + 256 * 512));
  work.matmul.groups = 4;
  CHECK(floor_of(work).bytes == 2.0 * (256 * 1024 + 4 * 512 * 1024 + 256 * 512));
  work.recipe = Recipe::Fp8Block;
  work.matmul.groups = 1;
  work.direction = Direction::WeightGrad;
  CHECK(floor_of(work).bytes == 256.0 * 1024 + 4.0 * 512 * 1024 + 256.0 * 512);
  work.kind = OpKind::Attention;
  work.direction = Direction::Forward;
  work.attention = {.batch = 2,
                    .heads = 8,
                    .kv_heads = 2,
                    .queries = 64,
                    .keys = 64,
                    .qk_dim = 192,
                    .v_dim = 128};
  CHECK(floor_of(work).flops == 2.0 * 2 * 8 * 64 * 64 / 2 * (192 + 128));
  CHECK(floor_of(work).bytes == 2.0 * 2 * 64 * (8 + 2) * (192 + 128));
  work = {.kind = OpKind::Router, .direction = Direction::InputGrad, .rows = 16, .columns = 4};
  CHECK(floor_of(work).bytes == 8.0 * 16 * 4 + 16.0 * 16 * 4);
}

TEST_CASE("gpu cases: the runtime's own packing is none, a loss has a gradient of its own") {
  CHECK_FALSE(gpu_case(packing_case(1 << 14, Direction::Forward)));
  int losses = 0;
  for (const OpCase& c : cases_of_one_rank(dense_model(), Recipe::Bf16)) {
    const std::optional<GpuCase> on_gpu = gpu_case(c);
    losses += on_gpu && on_gpu->work.kind == OpKind::Loss;
  }
  CHECK(losses == 2);
}

}  // namespace narrows::test

// The experts' matmuls: which tiles a launch makes, and the three passes against plain matmuls.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <tuple>

#include "gpu/device.h"
#include "gpu/emulated_module.h"
#include "kernels/cuda/tile_order.h"
#include "kernels/matmul.h"

namespace narrows::test {
namespace {

struct Groups {
  std::vector<std::int64_t> begin;
  std::int64_t n, k;
  std::int64_t count() const { return std::ssize(begin) - 1; }
  std::int64_t rows() const { return begin.back(); }
};

// x (rows, k), w (groups, n, k), y (rows, n): the pass by plain matmuls.
std::vector<float> grouped(const Groups& g, gpu::Pass pass, const std::vector<float>& x,
                           const std::vector<float>& w, const std::vector<float>& y) {
  std::vector<float> out(pass == gpu::Pass::Forward     ? y.size()
                         : pass == gpu::Pass::InputGrad ? x.size()
                                                        : w.size());
  for (std::int64_t e = 0; e < g.count(); ++e) {
    const std::int64_t first = g.begin[static_cast<std::size_t>(e)];
    const std::int64_t rows = g.begin[static_cast<std::size_t>(e) + 1] - first;
    const float* we = w.data() + e * g.n * g.k;
    const float* xe = x.data() + first * g.k;
    const float* ye = y.data() + first * g.n;
    if (pass == gpu::Pass::Forward) {
      kernels::matmul(
          {false, true, rows, g.n, g.k, xe, g.k, we, g.k, 0, out.data() + first * g.n, g.n});
    } else if (pass == gpu::Pass::InputGrad) {
      kernels::matmul(
          {false, false, rows, g.k, g.n, ye, g.n, we, g.k, 0, out.data() + first * g.k, g.k});
    } else {
      kernels::matmul(
          {true, false, g.n, g.k, rows, ye, g.n, xe, g.k, 0, out.data() + e * g.n * g.k, g.k});
    }
  }
  return out;
}

std::vector<std::int64_t> random_groups(std::int64_t groups, Random& random) {
  std::vector<std::int64_t> begin = {0};
  for (std::int64_t e = 0; e < groups; ++e) {
    const std::int64_t rows = static_cast<std::int64_t>(random.below(700));
    begin.push_back(begin.back() + (rows < 200 ? 0 : rows - 200));
  }
  return begin;
}

// What the pass leaves in its result, of which `was` was there.
std::vector<float> run_pass(Device& d, const Groups& g, gpu::Pass pass, gpu::Type type,
                            gpu::Type out, const std::vector<std::vector<float>>& xwy,
                            const std::vector<float>* was) {
  const Values on_x = d.values(type, xwy[0]), on_w = d.values(type, xwy[1]),
               on_y = d.values(type, xwy[2]);
  const std::int64_t sizes[] = {g.rows() * g.n, g.rows() * g.k, g.count() * g.n * g.k};
  const Values to =
      was != nullptr ? d.values(out, *was) : d.result(out, sizes[static_cast<int>(pass)]);
  gpu::GroupedMatmul op{.pass = pass,
                        .type = type,
                        .out = out,
                        .groups = g.count(),
                        .n = g.n,
                        .k = g.k,
                        .begin = g.begin.data(),
                        .x = on_x.data(),
                        .w = on_w.data(),
                        .y = on_y.data(),
                        .beta = was != nullptr ? 0.5f : 0.0f};
  (pass == gpu::Pass::Forward ? op.y : pass == gpu::Pass::InputGrad ? op.x : op.w) = to.data();
  d.run(op);
  return d.read(to);
}

constexpr gpu::Pass kPasses[] = {gpu::Pass::Forward, gpu::Pass::InputGrad, gpu::Pass::WeightGrad};

void check_passes(Device& d, const Groups& g, gpu::Type type) {
  Random random(2);
  const std::vector<std::vector<float>> xwy = {
      rounded(type, random_floats(g.rows() * g.k, random)),
      rounded(type, random_floats(g.count() * g.n * g.k, random)),
      rounded(type, random_floats(g.rows() * g.n, random))};
  for (const gpu::Pass pass : kPasses) {
    const std::vector<float> truth = grouped(g, pass, xwy[0], xwy[1], xwy[2]);
    for (const gpu::Type out : kTypes) {
      if (type == gpu::Type::F32 && out != type) continue;
      INFO("pass " << static_cast<int>(pass) << " into " << word(out));
      CHECK(distance(run_pass(d, g, pass, type, out, xwy, nullptr), truth) <= tolerance(out));
    }
  }
}

}  // namespace

TEST_CASE("gpu tile order: every tile of every group is made once, empty groups have none") {
  Random random(1);
  for (int round = 0; round < 40; ++round) {
    const int groups = 1 + static_cast<int>(random.below(12));
    const std::vector<std::int64_t> begin = random_groups(groups, random);
    const int across = 1 + static_cast<int>(random.below(40));
    const int height = gpu::tile_height(begin.data(), groups);
    const gpu::TileOrder order = gpu::order_of_rows(begin.data(), groups, height, across);
    std::set<std::tuple<int, int, int>> seen;
    for (int i = 0; i < gpu::blocks_of(order); ++i) {
      const gpu::Tile tile = gpu::tile_at(order, i);
      const std::size_t e = static_cast<std::size_t>(tile.group);
      CHECK(tile.down * height < begin[e + 1] - begin[e]);
      CHECK(tile.across < across);
      CHECK(seen.insert({tile.group, tile.down, tile.across}).second);
    }
    std::int64_t wanted = 0;
    for (std::size_t e = 0; e < static_cast<std::size_t>(groups); ++e) {
      wanted += (begin[e + 1] - begin[e] + height - 1) / height * across;
    }
    CHECK(std::ssize(seen) == wanted);
  }
}

TEST_CASE("gpu tile order: a weight gradient has its tiles in every group, empty ones too") {
  const std::int64_t begin[] = {0, 5, 5, 300};
  const gpu::TileOrder order = gpu::order_of_sums(begin, 3, 2, 3);
  CHECK(gpu::blocks_of(order) == 3 * 2 * 3);
  CHECK(gpu::tile_at(order, 6).group == 1);
  CHECK(gpu::tile_at(order, 17).group == 2);
}

TEST_CASE("gpu tile order: tiles of 64 rows only where large ones would be half empty") {
  const std::int64_t tiny[] = {0, 10, 40, 104}, large[] = {0, 500, 1200, 1330};
  CHECK(gpu::tile_height(tiny, 3) == 64);
  CHECK(gpu::tile_height(large, 3) == 128);
}

TEST_CASE("gpu grouped matmul: on Hopper cuBLASLt's loop is for groups that fill the chip") {
  const auto one = [](int) { return 1.0; };
  // V3's experts of a rank, n 4096: 4 groups of 8192 tokens, and 32 of 128.
  const std::int64_t few[] = {0, 8192, 16384, 24576, 32768};
  CHECK(gpu::loop_is_quicker(gpu::order_of_rows(few, 4, 128, 32), 132, gpu::kShareOfWgmma, one));
  std::vector<std::int64_t> many;
  for (int e = 0; e <= 32; ++e) many.push_back(128 * e);
  CHECK_FALSE(gpu::loop_is_quicker(gpu::order_of_rows(many.data(), 32, 128, 32), 132,
                                   gpu::kShareOfWgmma, one));
  // In E4M3 the library is so much quicker that half a chip is no matter.
  CHECK(gpu::loop_is_quicker(gpu::order_of_rows(many.data(), 32, 128, 64), 132,
                             gpu::kShareOfWgmmaE4m3, one));
  // What is summed over counts: one group of all rows decides, however many have none.
  const std::int64_t one_of_all[] = {0, 0, 0, 9000, 9000};
  const gpu::TileOrder sums = gpu::order_of_sums(one_of_all, 4, 32, 33);
  CHECK(gpu::loop_is_quicker(sums, 132, gpu::kShareOfWgmma,
                             [](int e) { return e == 2 ? 9000.0 : 0.0; }));
}

TEST_CASE("gpu grouped matmul: three passes over uneven groups, one of them empty") {
  on_each_device([](Device& d) {
    check_passes(d, {{0, 33, 33, 162, 163}, 136, 200}, gpu::Type::Bf16);
    // Groups so short that their tiles are of 64 rows.
    check_passes(d, {{0, 10, 11, 60}, 72, 264}, gpu::Type::Bf16);
    if (!d.is_small()) check_passes(d, {{0, 900, 900, 901, 3000}, 512, 640}, gpu::Type::Bf16);
  });
}

TEST_CASE("gpu grouped matmul: a weight gradient is added to beta times what was there") {
  on_each_device([](Device& d) {
    Random random(3);
    const Groups g{{0, 70, 70, 71}, 24, 136};
    const gpu::Type type = gpu::Type::Bf16;
    const std::vector<std::vector<float>> xwy = {
        rounded(type, random_floats(g.rows() * g.k, random)),
        rounded(type, random_floats(g.count() * g.n * g.k, random)),
        rounded(type, random_floats(g.rows() * g.n, random))};
    for (const gpu::Type out : kTypes) {
      const std::vector<float> was = rounded(out, random_floats(g.count() * g.n * g.k, random));
      std::vector<float> truth = grouped(g, gpu::Pass::WeightGrad, xwy[0], xwy[1], xwy[2]);
      for (std::size_t i = 0; i < truth.size(); ++i) truth[i] += 0.5f * was[i];
      const std::vector<float> found = run_pass(d, g, gpu::Pass::WeightGrad, type, out, xwy, &was);
      CHECK(distance(found, truth) <= tolerance(out));
    }
  });
}

TEST_CASE("gpu grouped matmul: more groups than one launch takes") {
  on_each_device([](Device& d) {
    Groups g{{0}, 16, 24};
    for (int e = 0; e < gpu::kMostGroups + 20; ++e) {
      const bool has_rows = e % 200 == 3 || e == gpu::kMostGroups;
      g.begin.push_back(g.begin.back() + (has_rows ? 1 + e % 7 : 0));
    }
    Random random(4);
    const gpu::Type type = gpu::Type::Bf16;
    const std::vector<std::vector<float>> xwy = {
        rounded(type, random_floats(g.rows() * g.k, random)),
        rounded(type, random_floats(g.count() * g.n * g.k, random)),
        rounded(type, random_floats(g.rows() * g.n, random))};
    const std::vector<float> truth = grouped(g, gpu::Pass::Forward, xwy[0], xwy[1], xwy[2]);
    const std::vector<float> found =
        run_pass(d, g, gpu::Pass::Forward, type, gpu::Type::F32, xwy, nullptr);
    CHECK(distance(found, truth) <= 1e-5);
  });
}

TEST_CASE("gpu grouped matmul: one by one on an emulated Hopper, in f32 and in odd sizes") {
  gpu::emulate({.architecture = 90, .multiplies = true});
  Result<Gpu> opened = Gpu::open(gpu::emulated_api());
  gpu::emulate({});
  REQUIRE(opened.has_value());
  Device d("emulated Hopper", std::move(*opened));
  check_passes(d, {{0, 33, 33, 162, 163}, 136, 200}, gpu::Type::Bf16);
  check_passes(d, {{0, 33, 33, 64}, 30, 41}, gpu::Type::F32);
  check_passes(d, {{0, 33, 33, 64}, 30, 41}, gpu::Type::Bf16);
}

TEST_CASE("gpu grouped matmul: by cuBLASLt in f32 and where n and k are no multiples of 8",
          "[device]") {
  on_gpu([](Device& d) {
    check_passes(d, {{0, 33, 33, 128, 200}, 192, 256}, gpu::Type::F32);
    check_passes(d, {{0, 33, 33, 128, 200}, 190, 253}, gpu::Type::Bf16);
  });
}

}  // namespace narrows::test

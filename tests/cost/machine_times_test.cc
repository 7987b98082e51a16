// Prices on a machine that was measured op by op: its own points, and straight lines between them.
// SPDX-License-Identifier: Apache-2.0
#include "cost/machine_times.h"

#include <catch2/catch.hpp>

#include "cost/collective_time.h"
#include "cost/kernel_time.h"

namespace narrows {
namespace {

Chip machine() {
  Chip chip;
  chip.name = "some-cpu";
  chip.architecture = "cpu";
  chip.peak["fp32"].value = 100 * GFLOP / sec;
  chip.peak["bf16"].value = 400 * GFLOP / sec;
  chip.memory_bandwidth.value = 10 * GB / sec;
  chip.multiprocessors = Figure<double>{1, "", "", ""};
  return chip;
}

Measurement matmul(double m, Seconds time, Direction direction = Direction::Forward) {
  Measurement row;
  row.family = KernelFamily::Matmul;
  row.chip = "some-cpu";
  row.recipe = Recipe::F32;
  row.direction = direction;
  row.matmul = {exactly(m), 64, 32, 1};
  row.time = time;
  return row;
}

Measurement norm(double bytes, Seconds time, Direction direction) {
  Measurement row;
  row.family = KernelFamily::Memory;
  row.chip = "some-cpu";
  row.recipe = Recipe::F32;
  row.direction = direction;
  row.memory_class = "norm";
  row.traffic = bytes * byte;
  row.time = time;
  return row;
}

KernelTimes times_of(const std::vector<Measurement>& rows) {
  const Result<KernelTables> none = KernelTables::read({});
  REQUIRE(none);
  const Result<KernelTables> tables = none->preferring(rows, machine());
  REQUIRE(tables);
  return KernelTimes(*tables, machine());
}

double in_us(const Estimate& estimate) { return estimate.time / us; }

}  // namespace

TEST_CASE("machine times: a measured op has its time, between two the line joins them") {
  const KernelTimes times = times_of({matmul(100, 10 * us), matmul(300, 26 * us)});
  const auto at = [&](double m) {
    return times.matmul(Recipe::F32, Direction::Forward, {exactly(m), 64, 32, 1});
  };
  CHECK(in_us(at(100)) == Approx(10));
  CHECK(at(100).basis == Basis::Measured);
  CHECK(in_us(at(200)) == Approx(18));
  CHECK(at(200).basis == Basis::Interpolated);
  CHECK(in_us(at(300)) == Approx(26));
  CHECK(in_us(at(400)) == Approx(34));
  CHECK(at(400).basis == Basis::Interpolated);
  CHECK(in_us(at(1000)) == Approx(82));
  CHECK(at(1000).basis == Basis::Transferred);
  // Below the first point the line ends at what does not depend on rows.
  CHECK(in_us(at(50)) == Approx(6));
}

TEST_CASE("machine times: two measurements side by side draw no line far from them") {
  const auto at = [](Seconds first, Seconds second, double m) {
    const KernelTimes times = times_of({matmul(10000, first), matmul(10001, second)});
    return in_us(times.matmul(Recipe::F32, Direction::Forward, {exactly(m), 64, 32, 1}));
  };
  // A fall by a fifth within one row would be 2,000 times the first at 100.
  CHECK(at(1000 * us, 800 * us, 100) == Approx(1000));
  CHECK(at(1000 * us, 800 * us, 20000) == Approx(800 * 20000 / 10001.0));
  CHECK(at(800 * us, 1000 * us, 100) == Approx(8));
  CHECK(at(800 * us, 1000 * us, 20000) == Approx(1.25 * 1000 * 20000 / 10001.0));
}

TEST_CASE("machine times: repeated measurements of an op count with their mean") {
  const KernelTimes times = times_of({matmul(100, 10 * us), matmul(100, 14 * us)});
  CHECK(in_us(times.matmul(Recipe::F32, Direction::Forward, {exactly(100), 64, 32, 1})) ==
        Approx(12));
}

TEST_CASE("machine times: a family that was not measured takes the nearest one's efficiency") {
  // 2 x 100 x 64 x 32 FLOP at 100 GFLOP/s are 4.096 us: efficiency 0.4096.
  const KernelTimes times = times_of({matmul(100, 10 * us)});
  const Estimate other = times.matmul(Recipe::F32, Direction::Forward, {exactly(100), 128, 32, 1});
  CHECK(in_us(other) == Approx(20));
  CHECK(other.basis == Basis::Roofline);
  // A gradient that was not measured goes at the forward's pace.
  CHECK(in_us(times.matmul(Recipe::F32, Direction::WeightGrad, {exactly(100), 64, 32, 1})) ==
        Approx(10));
}

TEST_CASE("machine times: attention in bf16 has a time of its own, or at most that of f32") {
  Measurement wide;
  wide.family = KernelFamily::Attention;
  wide.chip = "some-cpu";
  wide.recipe = Recipe::F32;
  wide.attention = {.batch = 4,
                    .heads = 2,
                    .kv_heads = 2,
                    .queries = 64,
                    .keys = 64,
                    .qk_dim = 32,
                    .v_dim = 32,
                    .causal = true};
  wide.time = 30 * us;
  Measurement narrow = wide;
  narrow.recipe = Recipe::Bf16;
  narrow.time = 18 * us;
  const auto in = [&](const KernelTimes& times, Recipe recipe) {
    return times.attention(recipe, Direction::Forward, wide.attention);
  };
  const KernelTimes both = times_of({wide, narrow});
  CHECK(in_us(in(both, Recipe::F32)) == Approx(30));
  CHECK(in_us(in(both, Recipe::Bf16)) == Approx(18));
  CHECK(in_us(in(both, Recipe::Fp8Block)) == Approx(18));
  const KernelTimes one = times_of({wide});
  CHECK(in_us(in(one, Recipe::Bf16)) == Approx(30));
  CHECK(in(one, Recipe::Bf16).basis == Basis::Transferred);
}

TEST_CASE("machine times: directions of moves have times of their own") {
  const KernelTimes times =
      times_of({norm(1000, 1 * us, Direction::Forward), norm(2000, 1.5 * us, Direction::Forward),
                norm(1000, 4 * us, Direction::InputGrad)});
  CHECK(in_us(times.memory_bound(OpKind::Norm, 1000 * byte)) == Approx(1));
  CHECK(in_us(times.memory_bound(OpKind::Norm, 1000 * byte, Direction::InputGrad)) == Approx(4));
  CHECK(in_us(times.memory_bound(OpKind::Norm, 1500 * byte)) == Approx(1.25));
}

TEST_CASE("machine times: moves of bf16 count where the backend makes it, and nothing is packed") {
  const Measurement wide = norm(1000, 4 * us, Direction::Forward);
  Measurement packed = wide;
  packed.memory_class = "quantise";
  packed.traffic = 6000 * byte;
  packed.time = 2 * us;
  Measurement narrow = norm(500, 1 * us, Direction::Forward);
  narrow.recipe = Recipe::Bf16;
  const auto in = [](const KernelTimes& times, Recipe recipe, double bytes) {
    return in_us(times.memory_bound(OpKind::Norm, bytes * byte, Direction::Forward, recipe));
  };
  const KernelTimes makes = times_of({wide, packed, narrow});
  CHECK(in(makes, Recipe::F32, 1000) == Approx(4));
  CHECK(in(makes, Recipe::Bf16, 500) == Approx(1));
  CHECK(in(makes, Recipe::Fp8Block, 1000) == Approx(4));
  CHECK(makes.packing(Recipe::Bf16, Direction::Forward, 1000).time == Seconds());
  CHECK(in_us(makes.packing(Recipe::Fp8Block, Direction::Forward, 1000)) == Approx(2));
  const KernelTimes rounds = times_of({wide, packed});
  CHECK(in(rounds, Recipe::Bf16, 1000) == Approx(4));
  CHECK(in_us(rounds.packing(Recipe::Bf16, Direction::Forward, 1000)) == Approx(2));
}

TEST_CASE("machine times: the gradient of a sum is no work") {
  const KernelTimes times = times_of({matmul(100, 10 * us)});
  CHECK(times.memory_bound(OpKind::Elementwise, 1 * MB, Direction::InputGrad).time == Seconds());
  CHECK(times.memory_bound(OpKind::Loss, 1 * MB, Direction::InputGrad).time == Seconds());
  CHECK(times.memory_bound(OpKind::Elementwise, 1 * MB).time > Seconds());
}

TEST_CASE("machine times: with rates alone it is a roofline, and says so") {
  const KernelTimes times(*KernelTables::read({}), machine());
  const Estimate product =
      times.matmul(Recipe::Bf16, Direction::Forward, {exactly(1000), 100, 100, 1});
  CHECK(in_us(product) == Approx(2e7 / 400e9 * 1e6 / 0.7));
  CHECK(product.basis == Basis::Roofline);
  const Estimate move = times.memory_bound(OpKind::Norm, 1 * MB);
  CHECK(in_us(move) == Approx(200));
  CHECK(move.basis == Basis::Roofline);
}

namespace {

Cluster measured_links() {
  Cluster cluster;
  cluster.gpus = 4;
  cluster.gpus_per_node = 4;
  cluster.chip = machine();
  Level level;
  level.name = "memory";
  level.group = 4;
  level.nominal.value = 10 * GB / sec;
  level.usable = level.nominal;
  level.latency.value = 2 * us;
  cluster.levels = {level};
  return cluster;
}

double all_reduce_us(const Cluster& cluster, int ranks, Bytes bytes) {
  return collective_time({CollectiveKind::AllReduce, Axis::Dp, bytes, 0},
                         span_of(cluster, ranks, 1), cluster)
             .time /
         us;
}

}  // namespace

TEST_CASE("machine links: measured sizes as they are, between them and beyond on the line") {
  Cluster cluster = measured_links();
  cluster.collectives = {
      {"all-reduce", 2, {{1000 * byte, 5 * us}, {2000 * byte, 7 * us}, {4000 * byte, 15 * us}}}};
  CHECK(all_reduce_us(cluster, 2, 10 * byte) == Approx(5));
  CHECK(all_reduce_us(cluster, 2, 1000 * byte) == Approx(5));
  CHECK(all_reduce_us(cluster, 2, 1500 * byte) == Approx(6));
  CHECK(all_reduce_us(cluster, 2, 3000 * byte) == Approx(11));
  CHECK(all_reduce_us(cluster, 2, 8000 * byte) == Approx(31));
}

TEST_CASE("machine links: a group that was not measured sends in proportion") {
  Cluster cluster = measured_links();
  cluster.collectives = {{"all-reduce", 2, {{1000 * byte, 5 * us}, {2000 * byte, 10 * us}}}};
  // Of four each sends 3/2 of the bytes, of two 1: as 1500 bytes among two.
  CHECK(all_reduce_us(cluster, 4, 1000 * byte) == Approx(7.5));
}

TEST_CASE("machine links: without measurements bytes at the level's rate, and a latency a step") {
  const Cluster cluster = measured_links();
  CHECK(all_reduce_us(cluster, 2, 1 * MB) == Approx(100 + 2 * 2));
  CHECK(all_reduce_us(cluster, 4, 1 * MB) == Approx(150 + 2 * 2));
}

TEST_CASE("machine links: an emulated link adds its bytes at its rate, and its latency") {
  Cluster cluster = measured_links();
  cluster.collectives = {{"all-reduce", 2, {{1 * MB, 200 * us}, {2 * MB, 400 * us}}}};
  const double before = all_reduce_us(cluster, 2, 1 * MB);
  cluster.levels[0].usable.value = 1 * GB / sec;
  cluster.levels[0].latency.value = 50 * us;
  CHECK(all_reduce_us(cluster, 2, 1 * MB) - before == Approx(1000 + 2 * 50));
}

// A square of 1024 in fp8 that took three times as long as its FLOPs at the bf16 rate.
TEST_CASE("machine times: a format that is emulated costs what it was seen to cost") {
  Measurement wide = matmul(1024, 30 * ms), fp8 = wide;
  wide.matmul = fp8.matmul = {exactly(1024), 1024, 1024, 1};
  fp8.recipe = Recipe::Fp8Block;
  fp8.time = 3 * (2.0 * 1024 * 1024 * 1024 / 400e9) * sec;
  const MatmulShape other{exactly(512), 256, 512, 1};
  const double floor = 2.0 * 512 * 256 * 512 / 400e9 * 1e6;
  const KernelTimes seen = times_of({wide, fp8});
  for (const Direction direction : {Direction::Forward, Direction::WeightGrad})
    CHECK(in_us(seen.matmul(Recipe::Fp8Block, direction, other)) == Approx(3 * floor));
  // Unseen it is priced over f32's time.
  const KernelTimes unseen = times_of({wide});
  CHECK(in_us(unseen.matmul(Recipe::Fp8Block, Direction::Forward, other)) ==
        Approx(2 * in_us(unseen.matmul(Recipe::F32, Direction::Forward, other))));
}

}  // namespace narrows

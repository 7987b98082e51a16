// Ranks of a machine as a cluster: closed forms of what was measured.
// SPDX-License-Identifier: Apache-2.0
#include "measurement/local_cluster.h"

#include <catch2/catch.hpp>

#include "hardware/cluster_json.h"

namespace narrows {
namespace {

Measurement matmul(Recipe recipe, double m, std::int64_t n, std::int64_t k, Seconds time) {
  Measurement row;
  row.family = KernelFamily::Matmul;
  row.recipe = recipe;
  row.matmul = {exactly(m), n, k, 1};
  row.time = time;
  return row;
}

Measurement copy(Bytes traffic, Seconds time) {
  Measurement row;
  row.family = KernelFamily::Memory;
  row.memory_class = "copy";
  row.traffic = traffic;
  row.time = time;
  return row;
}

LinkMeasurement link(CollectiveKind what, int ranks, Bytes bytes, Seconds time) {
  LinkMeasurement row;
  row.what = what;
  row.ranks = ranks;
  row.bytes = bytes;
  row.time = time;
  return row;
}

const LocalMachine kMachine{"some-cpu-2cpu-2rank", "Some CPU", 2, 20 * GiB, "profile"};

const std::vector<Measurement> kKernels = {
    matmul(Recipe::F32, 100, 100, 100, 20 * us),    // 100 GFLOP/s
    matmul(Recipe::F32, 1000, 100, 100, 160 * us),  // 125
    matmul(Recipe::Bf16, 100, 100, 100, 2 * us),    // 1 TFLOP/s
    copy(10 * MB, 1 * ms), copy(1 * MB, 50 * us)};  // 10 and 20 GB/s

}  // namespace

TEST_CASE("local cluster: rates are the best that were seen, memory an equal part") {
  const Result<Cluster> cluster = local_cluster(kMachine, kKernels, {});
  REQUIRE(cluster);
  const Chip& chip = cluster->chip;
  CHECK(chip.peak.at("fp32").value / (GFLOP / sec) == Approx(125));
  CHECK(chip.peak.at("bf16").value / (GFLOP / sec) == Approx(1000));
  CHECK(chip.memory_bandwidth.value / (GB / sec) == Approx(20));
  CHECK(chip.memory_reported.value / GiB == Approx(9));
  CHECK(chip.architecture == "cpu");
  CHECK(cluster->gpus == 2);
  CHECK(cluster->software == "narrows");
  REQUIRE(cluster->levels.size() == 1);
  CHECK(cluster->levels[0].group == 2);
  CHECK(cluster->levels[0].usable.value / (GB / sec) == Approx(20));
}

TEST_CASE("local cluster: ops of a training alone are no rates") {
  const Measurement f32 = kKernels[0], bf16 = kKernels[2], moved = kKernels[3];
  CHECK(has_rates(kKernels));
  CHECK(has_rates(std::vector{f32, moved}));
  CHECK_FALSE(has_rates(std::vector{f32, bf16}));
  CHECK_FALSE(has_rates(std::vector{bf16, moved}));
  CHECK_FALSE(has_rates({}));
}

TEST_CASE("local cluster: links are the measured ones, of several of a size the median") {
  const std::vector<LinkMeasurement> links = {link(CollectiveKind::SendRecv, 2, 1 * KiB, 2 * us),
                                              link(CollectiveKind::SendRecv, 2, 1 * MiB, 100 * us),
                                              link(CollectiveKind::AllReduce, 2, 4 * KiB, 9 * us),
                                              link(CollectiveKind::AllReduce, 2, 1 * KiB, 3 * us),
                                              link(CollectiveKind::AllReduce, 2, 1 * KiB, 90 * us),
                                              link(CollectiveKind::AllReduce, 2, 1 * KiB, 4 * us)};
  const Result<Cluster> cluster = local_cluster(kMachine, kKernels, links);
  REQUIRE(cluster);
  CHECK(cluster->levels[0].latency.value / us == Approx(2));
  CHECK(cluster->levels[0].nominal.value / (MiB / (100 * us)) == Approx(1));
  REQUIRE(cluster->collectives.size() == 2);
  const MeasuredCollective& reduce = cluster->collectives[0];
  CHECK(reduce.what == "all-reduce");
  REQUIRE(reduce.points.size() == 2);
  CHECK(reduce.points[0].bytes == 1 * KiB);
  CHECK(reduce.points[0].time / us == Approx(4));
  CHECK(reduce.points[1].time / us == Approx(9));
}

TEST_CASE("local cluster: it survives its plan file") {
  const std::vector<LinkMeasurement> links = {
      link(CollectiveKind::SendRecv, 2, 1 * KiB, 2.1 * us),
      link(CollectiveKind::AllReduce, 2, 1 * KiB, 3.7 * us)};
  const Result<Cluster> cluster = local_cluster(kMachine, kKernels, links);
  REQUIRE(cluster);
  const Json written = to_json(*cluster);
  JsonObject object = *JsonObject::of(written, "cluster");
  const Result<Cluster> back = cluster_from_json(object);
  if (!back) FAIL(back.error().message);
  CHECK(*back == *cluster);
}

TEST_CASE("local cluster: without matmuls or copies nothing is guessed") {
  const std::vector<Measurement> no_copies(kKernels.begin(), kKernels.begin() + 2);
  CHECK_FALSE(local_cluster(kMachine, no_copies, {}));
  CHECK_FALSE(local_cluster(kMachine, std::span(kKernels).last(2), {}));
}

TEST_CASE("local cluster: ranks that outnumber processors have a share of one each") {
  LocalMachine machine = kMachine;
  const auto share = [&](int processors, int ranks) {
    machine.processors = processors;
    machine.ranks = ranks;
    const Result<Cluster> cluster = local_cluster(machine, kKernels, {});
    REQUIRE(cluster);
    return cluster->chip.multiprocessors->value;
  };
  CHECK(share(2, 4) == 0.5);
  CHECK(share(2, 2) == 1);
  CHECK(share(8, 2) == 1);
  CHECK(share(0, 2) == 1);  // nobody counted them
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "economics/training_cost.h"

#include <catch2/catch.hpp>

namespace narrows {
namespace {

Cluster cluster(int gpus, double node_kilowatts = 0) {
  Cluster c;
  c.gpus = gpus;
  c.gpus_per_node = 8;
  c.node_power.value = node_kilowatts * 1000 * watt;
  return c;
}

// deepseek2024: 14.8 T tokens on 2,048 GPUs in batches of 15,360 sequences of 4,096.
const Training kV3{.sequence = 4096, .global_batch = 15360, .tokens = 14'800'000'000'000};

}  // namespace

TEST_CASE("training cost: DeepSeek-V3's pre-training is 2,664 thousand GPU-hours") {
  // Its published 180 K GPU-hours a trillion tokens are a step of 19.9 s.
  const double step = 180e3 / 1e12 * 15360 * 4096 / 2048 * 3600;
  const auto cost = training_cost(kV3, cluster(2048), step * sec, 2 * usd / hour);
  REQUIRE(cost);
  CHECK(cost->steps == Approx(235241).epsilon(1e-4));
  CHECK(cost->gpu_hours / 1e3 == Approx(2664).epsilon(1e-9));
  CHECK(cost->duration / day == Approx(54.2).epsilon(1e-3));
  REQUIRE(cost->money);
  CHECK(*cost->money / usd == Approx(5.328e6).epsilon(1e-9));
  CHECK_FALSE(cost->energy);
}

TEST_CASE("training cost: energy is the nodes' power all along") {
  const auto cost = training_cost(kV3, cluster(2048, 10), 10 * sec, {});
  REQUIRE(cost);
  CHECK_FALSE(cost->money);
  REQUIRE(cost->energy);
  CHECK(*cost->energy / (1000 * kWh) ==
        Approx(256 * 10 * (cost->duration / hour) / 1000).epsilon(1e-12));
}

TEST_CASE("training cost: twice the GPUs at half the step cost the same") {
  const auto one = training_cost(kV3, cluster(1024), 20 * sec, 3 * usd / hour);
  const auto two = training_cost(kV3, cluster(2048), 10 * sec, 3 * usd / hour);
  REQUIRE(one);
  REQUIRE(two);
  CHECK(two->gpu_hours == Approx(one->gpu_hours));
  CHECK(*two->money / usd == Approx(*one->money / usd));
  CHECK(2 * two->duration / sec == Approx(one->duration / sec));
}

TEST_CASE("training cost: unknown tokens have no cost") {
  Training training = kV3;
  training.tokens = 0;
  CHECK_FALSE(training_cost(training, cluster(8), 1 * sec, 2 * usd / hour));
}

}  // namespace narrows

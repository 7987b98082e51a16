// SPDX-License-Identifier: Apache-2.0
#include "model/flops.h"

#include <catch2/catch.hpp>

#include "model/builtin.h"
#include "model/published.h"

namespace narrows {
namespace {

ModelSpec model(const std::string& name) {
  const Result<BuiltinModel> found = builtin_model(name);
  REQUIRE(found.has_value());
  return found->spec;
}

double gflop(const ModelSpec& spec, std::int64_t sequence, FlopsRule rule) {
  return training_flops_per_token(spec, sequence, rule) / GFLOP;
}
double gflop(const ModelSpec& spec, std::int64_t sequence, FlopsConvention convention) {
  return training_flops_per_token(spec, sequence, convention) / GFLOP;
}

}  // namespace

TEST_CASE("flops: every published model, with router, causal, full and with MTP") {
  for (const PublishedCounts& row : published_counts()) {
    INFO(row.name);
    const ModelSpec spec = model(row.name);
    CHECK(gflop(spec, 4096, {.router = true}) == Approx(row.gflop_causal).epsilon(1e-11));
    CHECK(gflop(spec, 4096, {.causal = false, .router = true}) ==
          Approx(row.gflop_full).epsilon(1e-11));
    CHECK(gflop(spec, 4096, {.router = true, .mtp = true}) ==
          Approx(row.gflop_causal_mtp).epsilon(1e-11));
  }
}

TEST_CASE("flops: DeepSeek-V3 in the four conventions") {
  const ModelSpec v3 = model("deepseek-v3");
  CHECK(gflop(v3, 4096, FlopsConvention::DeepSeek) == Approx(249.81).margin(0.005));
  CHECK(gflop(v3, 4096, FlopsConvention::DeepSeekFull) == Approx(280.51).margin(0.005));
  CHECK(gflop(v3, 4096, FlopsConvention::Megatron) == Approx(259.993).margin(0.0005));
  CHECK(gflop(v3, 4096, FlopsConvention::SixN) == Approx(6 * 36.624596992).epsilon(1e-12));
}

TEST_CASE(
    "flops: the MFU that isca2025 prints for V3 follows from its step of 19.926 s on 2,048 H800") {
  const ModelSpec v3 = model("deepseek-v3");
  const auto mfu = [&](FlopsConvention convention) {
    const double tokens = 15360. * 4096;
    return 100 * tokens * gflop(v3, 4096, convention) * 1e9 / (19.926 * 2048 * 989e12);
  };
  CHECK(mfu(FlopsConvention::DeepSeek) == Approx(38.94).margin(0.005));
  CHECK(mfu(FlopsConvention::DeepSeekFull) == Approx(43.73).margin(0.005));
}

TEST_CASE("flops: what V3's count would be with other parts counted") {
  const ModelSpec v3 = model("deepseek-v3");
  CHECK(gflop(v3, 4096, {.router = true}) == Approx(250.45).margin(0.005));
  CHECK(gflop(v3, 4096, {.router = true, .mtp = true}) == Approx(260.64).margin(0.005));
  CHECK(gflop(v3, 4096, {.mtp = true}) == Approx(259.99).margin(0.005));
  // Megatron-LM's formula without MTP is DeepSeek's rule.
  CHECK(gflop(v3, 4096, FlopsConvention::DeepSeek) == Approx(249.812).margin(0.0005));
  // The two published MFUs differ by 61 layers of attention, not 62.
  CHECK(gflop(v3, 4096, FlopsConvention::DeepSeekFull) -
            gflop(v3, 4096, FlopsConvention::DeepSeek) ==
        Approx(3 * 2 * 128 * 320 * 2048. * 61 / 1e9).epsilon(1e-9));
}

TEST_CASE("flops: other rows of isca2025 table 2 under DeepSeek's rule") {
  CHECK(gflop(model("deepseek-v2"), 4096, FlopsConvention::DeepSeek) ==
        Approx(155.01).margin(0.005));
  // Printed as 2448; that is a sequence of 2048.
  CHECK(gflop(model("llama-3.1-405b"), 2048, FlopsConvention::DeepSeek) ==
        Approx(2447.9).margin(0.05));
}

TEST_CASE(
    "flops: the formula of narayanan2021, 96 B s l h^2 (1 + s/6h + V/16lh), less its "
    "recomputation") {
  // The paper counts a second forward in every layer: 72 l h^2 (1 + s/6h) + 6 V h without it; full
  // attention.
  const ModelSpec gpt = model("megatron-1t");
  const double l = gpt.layers;
  const double h = gpt.hidden;
  const double paper = 72 * l * h * h * (1 + 2048 / (6 * h)) + 6 * gpt.vocab * h;
  CHECK(gflop(gpt, 2048, FlopsConvention::DeepSeekFull) == Approx(paper / 1e9).epsilon(1e-12));
}

TEST_CASE("flops: a sliding window costs the band of the matrix that it keeps") {
  ModelSpec spec = model("llama-2-7b");
  const double weights = gflop(spec, 4096, FlopsConvention::SixN);
  const double causal = gflop(spec, 4096, FlopsConvention::DeepSeek) - weights;
  spec.attention.window = 1024;
  // Of the triangle of 4096, (4096 - 1024)^2 / 2 are cut off.
  const double kept = 1 - (3072. * 3072) / (4096. * 4096);
  CHECK(gflop(spec, 4096, FlopsConvention::DeepSeek) - weights ==
        Approx(causal * kept).epsilon(1e-9));
  spec.attention.window_every = 2;  // every second layer attends to all
  CHECK(gflop(spec, 4096, FlopsConvention::DeepSeek) - weights ==
        Approx(causal * (1 + kept) / 2).epsilon(1e-9));
  spec.attention.window = 4096;
  CHECK(gflop(spec, 4096, FlopsConvention::DeepSeek) - weights == Approx(causal).epsilon(1e-9));
}

TEST_CASE("flops: conventions are known by their exact names") {
  for (const FlopsConvention convention : all_flops_conventions()) {
    CHECK(flops_convention_of(to_string(convention)) == convention);
  }
  CHECK(to_string(FlopsConvention::SixN) == "6N");
  CHECK(to_string(FlopsConvention::DeepSeekFull) == "deepseek-full");
  CHECK_FALSE(flops_convention_of("6n").has_value());
}

}  // namespace narrows

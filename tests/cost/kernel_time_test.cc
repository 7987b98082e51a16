// SPDX-License-Identifier: Apache-2.0
#include "cost/kernel_time.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "cost/interpolate.h"
#include "cost/kernel_time_fixture.h"

namespace narrows {
namespace {

constexpr Direction kForward = Direction::Forward;
constexpr Direction kInputGrad = Direction::InputGrad;
constexpr Direction kWeightGrad = Direction::WeightGrad;

MatmulShape product(double m, std::int64_t n, std::int64_t k, int groups = 1) {
  return {exactly(m), n, k, groups};
}

AttentionShape causal(int heads, std::int64_t length, int width, int window = 0) {
  return {1, heads, heads, length, length, width, width, true, window};
}

double tflops(double flops, Seconds time) { return flops * flop / time / (TFLOP / sec); }

TEST_CASE("interpolation: the logarithm agrees with the library's") {
  for (double x : {1e-9, 0.3, 0.70710678, 0.7072, 1.0, 1.5, 2.0, 3.0, 4097.0, 1e18}) {
    CHECK(log2_of(x) == Approx(std::log2(x)).epsilon(1e-12).margin(1e-12));
  }
}

TEST_CASE("interpolation: a grid is linear along a curve and finds a plane across curves") {
  Grid grid;
  for (double y = 0; y < 4; ++y) {
    for (double z = 0; z < 4; ++z) {
      for (double x : {0.0, 1.0, 3.0}) grid.add(x, y, z, 0.5 + 0.1 * x);
    }
  }
  grid.finish();
  CHECK(grid.curves() == 16);
  CHECK(grid.at(2, 1, 1).value == Approx(0.7));
  CHECK(grid.at(2, 1, 1).on_curve);
  CHECK(grid.at(9, 1, 1).value == Approx(0.8));
  CHECK_FALSE(grid.at(9, 1, 1).inside);
  CHECK(grid.at(2, 1.5, 2.5).value == Approx(0.7));
  CHECK(grid.at(2, 1.5, 2.5).inside);
  CHECK(grid.at(2, 1, 1, grid.curve_of(1, 1)).value == Approx(0.7));
}

TEST_CASE("interpolation: a scatter reproduces its points and stays between them") {
  Scatter scatter;
  scatter.add({0, 0, 0, 0}, 0.4);
  scatter.add({2, 0, 0, 0}, 0.8);
  CHECK(scatter.at({2, 0, 0, 0}).value == 0.8);
  CHECK(scatter.at({1, 0, 0, 0}).value == Approx(0.6));
  CHECK(scatter.at({2, 0, 0, 0}, 1).value == 0.4);
  CHECK(Scatter().at({1, 1, 1, 1}).value == 1);
}

TEST_CASE("kernel time: a measured shape takes what was measured") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "h100-sxm5"));
  const Estimate estimate = times.matmul(Recipe::Bf16, kForward, product(4096, 4096, 7168));
  CHECK(estimate.basis == Basis::Measured);
  // 310.8 and 316.8 us in the two stacks.
  CHECK(estimate.time / us == Approx(313.8).margin(0.05));
}

TEST_CASE("kernel time: all training rows of a chip reproduce on it") {
  const KernelTables tables = published_tables();
  for (const char* name : {"h800-sxm5", "a100-pcie-80gb", "b200"}) {
    for (const char* generation : {"", "dsv3-2024"}) {
      const KernelTimes times(tables, measured_chip(tables, name, "h100-sxm5"), generation);
      for (const Measurement& row : tables.rows(KernelFamily::Matmul, name)) {
        if (row.grid || row.generation != generation || row.multiprocessors > 0) continue;
        const Estimate estimate = times.matmul(row.recipe, row.direction, row.matmul);
        CHECK(estimate.time == row.time);
        CHECK(estimate.basis == Basis::Measured);
      }
      for (const Measurement& row : tables.rows(KernelFamily::Attention, name)) {
        if (row.generation != generation || row.multiprocessors > 0) continue;
        CHECK(times.attention(row.recipe, row.direction, row.attention).time == row.time);
      }
    }
  }
}

TEST_CASE(
    "kernel time: the kernels of 2024 give the trace's times back on its 112 multiprocessors") {
  const KernelTables tables = published_tables();
  const Chip whole = measured_chip(tables, "h800-sxm5", "h100-sxm5");
  Chip part = whole;  // as many multiprocessors, and as much arithmetic, as the trace had
  part.multiprocessors->value = 112;
  for (auto& [format, rate] : part.peak) rate.value *= 112.0 / 132;
  const KernelTimes times(tables, part, "dsv3-2024");
  int rows = 0;
  for (const Measurement& row : tables.rows(KernelFamily::Matmul, "h800-sxm5")) {
    if (row.generation.empty()) continue;
    ++rows;
    const Estimate estimate = times.matmul(row.recipe, row.direction, row.matmul);
    INFO(row.matmul.m.expected << " " << row.matmul.n << " " << row.matmul.k);
    CHECK(estimate.time / row.time == Approx(1).epsilon(1e-9));
  }
  CHECK(rows == 27);
  // On all 132 a matmul limited by arithmetic gains by at most their number.
  const KernelTimes full(tables, whole, "dsv3-2024");
  const double gain =
      full.matmul(Recipe::Fp8Block, kForward, product(4096, 7168, 16384)).time / (900.8 * us);
  CHECK(gain == Approx(112.0 / 132).epsilon(0.06));
}

TEST_CASE("kernel time: newer kernels beat those of the trace, weight gradients most") {
  const KernelTables tables = published_tables();
  const Chip chip = measured_chip(tables, "h800-sxm5", "h100-sxm5");
  const KernelTimes deepgemm(tables, chip);
  const KernelTimes trace(tables, chip, "dsv3-2024");
  for (const MatmulShape& shape :
       {product(4096, 7168, 16384), product(4096, 4096, 7168), product(4096, 24576, 1536)}) {
    for (Direction direction : {kForward, kInputGrad, kWeightGrad}) {
      const double ratio = trace.matmul(Recipe::Fp8Block, direction, shape).time /
                           deepgemm.matmul(Recipe::Fp8Block, direction, shape).time;
      CHECK(ratio > 1.02);
      CHECK(ratio < 1.6);
    }
  }
}

TEST_CASE("kernel time: a weight gradient of fp8 blocks has the published rate of its own kernel") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "h100-sxm5"));
  // DeepGEMM, pull request 95: 7168 x 4096 x 4096 at 942 TFLOP/s on an H800, which is an H100 for a
  // matmul.
  const Estimate estimate = times.matmul(Recipe::Fp8Block, kWeightGrad, product(4096, 4096, 7168));
  CHECK(tflops(2.0 * 4096 * 4096 * 7168, estimate.time) == Approx(942).epsilon(0.01));
  CHECK(estimate.basis == Basis::Transferred);
}

TEST_CASE("kernel time: the best of thousands of shapes elsewhere is approached by 80 to 105 %") {
  const KernelTables tables = published_tables();
  struct Best {
    const char* chip;
    Recipe recipe;
    MatmulShape shape;
    double tflops;
  };
  // S-STAS-ACC, not in the tables of these chips.
  for (const Best& best : {Best{"h100-sxm5", Recipe::Bf16, product(2048, 2048, 13312), 794.5},
                           Best{"h100-sxm5", Recipe::Fp8Row, product(1024, 9216, 14336), 1402.6},
                           Best{"a100-sxm4-80gb", Recipe::Bf16, product(1024, 10240, 5120), 271.2},
                           Best{"h200-sxm", Recipe::Fp8Row, product(1280, 4096, 12032), 1453.4}}) {
    const KernelTimes times(tables, measured_chip(tables, best.chip));
    const MatmulShape& s = best.shape;
    const double flops = 2 * s.m.expected * static_cast<double>(s.n * s.k);
    INFO(best.chip);
    const double share = tflops(flops, times.matmul(best.recipe, kForward, s).time) / best.tflops;
    CHECK(share > 0.8);
    CHECK(share < 1.05);
  }
}

TEST_CASE("kernel time: no kernel is faster than the chip's peaks allow") {
  const KernelTables tables = published_tables();
  for (const char* name : {"h100-sxm5", "a100-sxm4-80gb", "b200", "gb300", "mi300x"}) {
    const Chip chip = measured_chip(tables, name);
    const KernelTimes times(tables, chip);
    for (double m : {1.0, 17.0, 100.0, 1000.0, 5000.0, 40000.0}) {
      for (int groups : {1, 3, 32}) {
        for (Direction direction : {kForward, kInputGrad, kWeightGrad}) {
          const Estimate e =
              times.matmul(Recipe::Bf16, direction, product(m * groups, 2880, 5000, groups));
          const Bytes weights = groups * 2880.0 * 5000 * 2 * byte;
          CHECK(tflops(2.0 * m * groups * 2880 * 5000, e.time) <
                chip.peak.at("bf16").value / (TFLOP / sec));
          CHECK(e.time > weights / chip.memory_bandwidth.value);
          CHECK(e.error > 0);
        }
      }
    }
  }
}

TEST_CASE("kernel time: more rows take no less time, within the noise of the measurements") {
  const KernelTables tables = published_tables();
  for (const char* name : {"h100-sxm5", "a100-sxm4-80gb", "b200"}) {
    const KernelTimes times(tables, measured_chip(tables, name));
    for (Recipe recipe : {Recipe::Bf16, Recipe::Fp8Block}) {
      if (recipe == Recipe::Fp8Block && std::string(name) == "a100-sxm4-80gb") continue;
      for (const auto& [n, k] : {std::pair{6144, 4096}, {2112, 7168}, {5000, 3000}}) {
        for (Direction direction : {kForward, kInputGrad, kWeightGrad}) {
          Seconds slowest;
          for (double m = 64; m <= 65536; m *= 1.19) {
            const Seconds time = times.matmul(recipe, direction, product(std::floor(m), n, k)).time;
            INFO(name << " m=" << std::floor(m) << " n=" << n << " k=" << k << " direction "
                      << int(direction));
            CHECK(time > 0.87 * slowest);
            slowest = max(slowest, time);
          }
        }
      }
    }
  }
}

TEST_CASE("kernel time: an input gradient is the forward product with n and k swapped") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "h100-sxm5"));
  for (const auto& [n, k] : {std::pair{4096, 7168}, {28672, 8192}, {2048, 6144}}) {
    const Seconds gradient = times.matmul(Recipe::Fp8Row, kInputGrad, product(8192, n, k)).time;
    const Seconds swapped = times.matmul(Recipe::Fp8Row, kForward, product(8192, k, n)).time;
    CHECK(gradient / swapped == Approx(1).epsilon(0.15));
  }
}

TEST_CASE("kernel time: one group is a dense matmul, thin groups wait for their weights") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "h800-sxm5", "h100-sxm5"));
  const Seconds dense = times.matmul(Recipe::Fp8Block, kForward, product(8192, 4096, 7168)).time;
  const Seconds grouped =
      times.matmul(Recipe::Fp8Block, kForward, product(8192, 4096, 7168, 2)).time;
  CHECK(grouped / dense == Approx(1).epsilon(0.15));
  // 256 experts of 2 rows: 7.5 GB of weights at 60 to 100 % of 3.35 TB/s.
  const Seconds thin = times.matmul(Recipe::Fp8Block, kForward, product(512, 4096, 7168, 256)).time;
  CHECK(thin / ms > 2.2);
  CHECK(thin / ms < 3.8);
}

TEST_CASE("kernel time: transfers scale by the limiting peak and say so") {
  const KernelTables tables = published_tables();
  const Chip h100 = measured_chip(tables, "h100-sxm5");
  Chip slow = h100;
  slow.name = "half";
  slow.kernels_like = "h100-sxm5";
  for (auto& [format, rate] : slow.peak) rate.value *= 0.5;
  const MatmulShape shape = product(8192, 8192, 8192);
  const Estimate fast = KernelTimes(tables, h100).matmul(Recipe::Bf16, kForward, shape);
  const Estimate half = KernelTimes(tables, slow).matmul(Recipe::Bf16, kForward, shape);
  CHECK(half.basis == Basis::Transferred);
  CHECK(half.error > fast.error);
  CHECK(half.time / fast.time == Approx(2).epsilon(0.01));
  // A chip of no known kind rests on a roofline, and so does a format that the chip lacks.
  Chip strange = slow;
  strange.kernels_like = "";
  strange.architecture = "unheard-of";
  CHECK(KernelTimes(tables, strange).matmul(Recipe::Bf16, kForward, shape).basis ==
        Basis::Roofline);
  const Chip a100 = measured_chip(tables, "a100-sxm4-80gb");
  CHECK(KernelTimes(tables, a100).matmul(Recipe::Fp8Block, kForward, shape).basis ==
        Basis::Roofline);
}

TEST_CASE("kernel time: a relative of another architecture is trusted less") {
  const KernelTables tables = published_tables();
  const MatmulShape shape = product(4096, 4096, 7168);
  Chip chip = measured_chip(tables, "a100-sxm4-80gb");
  chip.name = "copy";
  chip.kernels_like = "a100-sxm4-80gb";
  const Estimate near = KernelTimes(tables, chip).matmul(Recipe::Bf16, kForward, shape);
  chip.architecture = "davinci";
  const Estimate far = KernelTimes(tables, chip).matmul(Recipe::Bf16, kForward, shape);
  CHECK(near.basis == Basis::Transferred);
  CHECK(far.basis == Basis::Transferred);
  CHECK(far.time == near.time);
  CHECK(far.error > near.error + 0.15);
  // A variant of an architecture is of it.
  chip.architecture = "ampere-refresh";
  CHECK(KernelTimes(tables, chip).matmul(Recipe::Bf16, kForward, shape).error == near.error);
}

TEST_CASE(
    "kernel time: attention costs half when causal, less in a window, and its backward more") {
  const KernelTables tables = published_tables();
  for (const char* name : {"h100-sxm5", "a100-sxm4-80gb", "b200", "gb200"}) {
    const KernelTimes times(tables, measured_chip(tables, name));
    AttentionShape full = causal(32, 16384, 128);
    full.causal = false;
    const Seconds time = times.attention(Recipe::Bf16, kForward, causal(32, 16384, 128)).time;
    CHECK(times.attention(Recipe::Bf16, kForward, full).time / time == Approx(2).epsilon(0.25));
    CHECK(times.attention(Recipe::Bf16, kForward, causal(32, 16384, 128, 1024)).time < 0.3 * time);
    const Seconds backward = times.attention(Recipe::Bf16, kInputGrad, causal(32, 16384, 128)).time;
    CHECK(backward / time > 2);
    CHECK(backward / time < 4);
    CHECK(times.attention(Recipe::Bf16, kForward, causal(64, 16384, 128)).time / time ==
          Approx(2).epsilon(0.1));
  }
}

TEST_CASE("kernel time: twice the exponentials help narrow heads most, and forward more") {
  const KernelTables tables = published_tables();
  Chip chip = measured_chip(tables, "b200");
  chip.name = "b200-like";
  chip.kernels_like = "b200";
  const KernelTimes plain(tables, chip);
  chip.exponentials = Figure<double>{2, "test", "", ""};
  const KernelTimes quick(tables, chip);
  const auto gain = [&](Direction direction, int head) {
    const AttentionShape shape = causal(32, 16384, head);
    return quick.attention(Recipe::Bf16, direction, shape).time /
           plain.attention(Recipe::Bf16, direction, shape).time;
  };
  // B300 takes 0.753, 0.852 and 0.963 of B200's time at 64, 128 and 256 columns (S-AIC).
  CHECK(gain(kForward, 64) == Approx(0.753).margin(0.02));
  CHECK(gain(kForward, 128) == Approx(0.852).margin(0.02));
  CHECK(gain(kForward, 256) == Approx(0.963).margin(0.07));
  CHECK(gain(kInputGrad, 128) > gain(kForward, 128));
  CHECK(gain(kInputGrad, 128) < 1);
}

TEST_CASE("kernel time: fewer key-value heads do the same arithmetic") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "h100-sxm5"));
  AttentionShape grouped = causal(64, 8192, 128);
  grouped.kv_heads = 8;
  for (Direction direction : {kForward, kInputGrad}) {
    CHECK(times.attention(Recipe::Bf16, direction, grouped).time ==
          times.attention(Recipe::Bf16, direction, causal(64, 8192, 128)).time);
  }
}

TEST_CASE("kernel time: latent attention has cuDNN's published rates") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "h800-sxm5", "h100-sxm5"));
  const AttentionShape shape{1, 128, 128, 4096, 4096, 192, 128, true, 0};
  const double pairs = 128.0 * 4096 * 4096 / 2;
  const Seconds backward = times.attention(Recipe::Bf16, kInputGrad, shape).time;
  CHECK(tflops(pairs * 2 * 320, times.attention(Recipe::Bf16, kForward, shape).time) ==
        Approx(553).epsilon(0.03));
  CHECK(tflops(pairs * 2 * 832, backward) == Approx(422).epsilon(0.02));
}

TEST_CASE(
    "kernel time: kernels that only move data reach 30 to 95 % of bandwidth once they are large") {
  const KernelTables tables = published_tables();
  for (const char* name : {"h800-sxm5", "h100-sxm5", "b200", "a100-sxm4-80gb", "mi300x"}) {
    const Chip chip = measured_chip(tables, name);
    const KernelTimes times(tables, chip);
    for (OpKind kind : {OpKind::Norm, OpKind::Rope, OpKind::ActivationFn, OpKind::Elementwise,
                        OpKind::Quantise, OpKind::Permute, OpKind::Embedding, OpKind::Loss}) {
      const double share =
          400 * MB / times.memory_bound(kind, 400 * MB).time / chip.memory_bandwidth.value;
      CHECK(share > 0.3);
      CHECK(share < 0.95);
    }
    const double share = 4 * GB / times.optimizer(4 * GB).time / chip.memory_bandwidth.value;
    CHECK(share > 0.8);
    CHECK(share < 0.95);
  }
  // SwiGLU with quantisation of 32 K rows in the trace: 139 us for 333 MB.
  const KernelTimes times(tables, measured_chip(tables, "h800-sxm5"));
  CHECK(times.memory_bound(OpKind::ActivationFn, 332.92 * MB).time / us ==
        Approx(139).epsilon(0.06));
}

TEST_CASE("kernel time: the same tables give the same bits") {
  const KernelTables tables = published_tables();
  const KernelTables again = published_tables();
  const KernelTimes a(tables, measured_chip(tables, "gb200"));
  const KernelTimes b(again, measured_chip(again, "gb200"));
  for (double m : {100.0, 3000.0, 12345.0}) {
    for (Direction direction : {kForward, kInputGrad, kWeightGrad}) {
      CHECK(a.matmul(Recipe::Nvfp4, direction, product(m, 3000, 5000, 4)).time ==
            b.matmul(Recipe::Nvfp4, direction, product(m, 3000, 5000, 4)).time);
    }
    CHECK(
        a.attention(Recipe::Bf16, kInputGrad, causal(12, static_cast<std::int64_t>(m), 96)).time ==
        b.attention(Recipe::Bf16, kInputGrad, causal(12, static_cast<std::int64_t>(m), 96)).time);
  }
}

TEST_CASE("attention: the core that is not fused takes what recomputing it was measured to add") {
  const KernelTables tables = published_tables();
  const KernelTimes times(tables, measured_chip(tables, "a100-sxm4-80gb"));
  // korthikanti2022, Table 4: of a layer of 22B on 8 A100 (4 sequences of 2048, 8 heads of 96 a
  // rank) the backward takes 13.2 ms with the core recomputed, 11.9 ms without.
  const AttentionShape core{4, 8, 8, 2048, 2048, 96, 96, false, 0};
  const double scores = 4.0 * 8 * 2048 * 2048;
  const Seconds softmax = times.memory_bound(OpKind::Elementwise, 9 * scores * byte).time;
  const Seconds forward = times.materialised_attention(Recipe::Fp16, Direction::Forward, core).time;
  CHECK((forward + softmax) / (1000 * us) == Approx(1.3).epsilon(0.15));
  // Twice the products in backward.
  const Seconds backward =
      times.materialised_attention(Recipe::Fp16, Direction::InputGrad, core).time;
  CHECK(backward / forward == Approx(2).epsilon(0.1));
}

}  // namespace
}  // namespace narrows

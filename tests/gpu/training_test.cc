// Router, loss, optimiser and quantisation against the plain kernels, and quantisation against
// arithmetic.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "gpu/device.h"
#include "kernels/adamw.h"
#include "kernels/cuda/e4m3.h"
#include "kernels/fp8.h"
#include "kernels/loss.h"
#include "kernels/router.h"
#include "kernels/rows.h"

namespace narrows::test {
namespace {

struct RouterShape {
  std::int64_t rows, experts, top_k, groups, top_groups;
  bool sigmoid, normalise, biased;
};

void check_router(Device& d, const RouterShape& s) {
  INFO(s.experts << " experts in " << s.groups << " groups, " << s.top_k << " chosen");
  Random random(5);
  const std::vector<float> logits = random_floats(s.rows * s.experts, random, 3);
  const std::vector<float> bias = random_floats(s.experts, random, 0.1f);
  const std::vector<float> dweights = random_floats(s.rows * s.top_k, random);
  std::vector<float> chosen(static_cast<std::size_t>(s.rows * 3 * s.top_k)), dlogits(logits.size());
  const kernels::Router f{logits.data(), s.biased ? bias.data() : nullptr,
                          chosen.data(), s.rows,
                          s.experts,     s.top_k,
                          s.groups,      s.top_groups,
                          s.sigmoid,     s.normalise,
                          2.5f};
  kernels::route(f, 0, s.rows);
  kernels::route_grad({f, dweights.data(), dlogits.data()}, 0, s.rows);

  const gpu::Type kF32 = gpu::Type::F32;
  const Values on_logits = d.values(kF32, logits), on_bias = d.values(kF32, bias);
  const Values on_dweights = d.values(kF32, dweights);
  const Values on_chosen = d.result(kF32, std::ssize(chosen)),
               on_dlogits = d.result(kF32, std::ssize(dlogits));
  const gpu::Router op{on_logits.floats(),
                       s.biased ? on_bias.floats() : nullptr,
                       on_chosen.floats(),
                       s.rows,
                       s.experts,
                       s.top_k,
                       s.groups,
                       s.top_groups,
                       s.sigmoid,
                       s.normalise,
                       2.5f};
  d.run(op);
  d.run(gpu::RouterGrad{op, on_dweights.floats(), on_dlogits.floats()});
  // The experts are whole numbers: a wrong choice is far off.
  CHECK(distance(d.read(on_chosen), chosen) <= 1e-5);
  CHECK(distance(d.read(on_dlogits), dlogits) <= 1e-5);
}

void check_loss(Device& d, gpu::Type type, std::int64_t rows, std::int64_t columns,
                std::int64_t stride) {
  INFO(word(type) << ", " << columns << " columns in " << stride);
  Random random(6);
  std::vector<float> logits = rounded(type, random_floats(rows * stride, random, 8));
  std::vector<std::int32_t> targets;
  for (std::int64_t r = 0; r < rows; ++r) {  // some of another part of the vocabulary
    targets.push_back(
        static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(3 * columns))));
  }
  const Values on_logits = d.values(type, logits), on_parts = d.result(gpu::Type::F32, 3 * rows);
  const GpuMemory on_targets = d.array(targets);
  const kernels::LogitPart part{logits.data(), rows, columns, stride, columns, targets.data()};
  std::vector<kernels::PartialSoftmax> parts(static_cast<std::size_t>(rows));
  kernels::partial_softmax(part, parts.data(), 0, rows);
  kernels::loss_grad(part, parts.data(), 0.25f, 0, rows);

  d.run(gpu::PartialSoftmax{type, on_logits.data(), rows, columns, stride, columns,
                            on_targets.as<std::int32_t>(), on_parts.floats()});
  const std::vector<float> found = d.read(on_parts);
  for (std::size_t r = 0; r < parts.size(); ++r) {
    CHECK(found[3 * r] == parts[r].maximum);
    CHECK(found[3 * r + 1] == Approx(parts[r].sum).epsilon(1e-5));
    CHECK(found[3 * r + 2] == parts[r].target);
  }
  d.run(gpu::LossGrad{type, on_logits.data(), rows, columns, stride, columns,
                      on_targets.as<std::int32_t>(), on_parts.floats(), 0.25f});
  CHECK(distance(d.read(on_logits), logits) <= tolerance(type));
}

float e4m3_value(std::uint8_t byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const double size =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  if ((byte & 0x7f) == 0x7f) return std::nanf("");
  return static_cast<float>(byte >= 128 ? -size : size);
}

// Scales and bytes of (rows, columns) by plain loops, tiles of `high` by `wide`; scales (rows,
// columns) of tiles.
struct Quantised {
  std::vector<float> scales;
  std::vector<std::uint8_t> bytes;
};
Quantised quantised(const std::vector<float>& x, std::int64_t rows, std::int64_t columns,
                    std::int64_t high, std::int64_t wide) {
  const auto at = [&](std::int64_t r, std::int64_t c) {
    return static_cast<std::size_t>(r * columns + c);
  };
  Quantised out;
  out.bytes.resize(x.size());
  for (std::int64_t row = 0; row < rows; row += high) {
    for (std::int64_t column = 0; column < columns; column += wide) {
      float most = 0;
      const std::int64_t end_row = std::min(rows, row + high),
                         end = std::min(columns, column + wide);
      for (std::int64_t r = row; r < end_row; ++r) {
        for (std::int64_t c = column; c < end; ++c) most = std::max(most, std::fabs(x[at(r, c)]));
      }
      const float scale = most == 0 ? 1.0f : most / 448.0f;
      out.scales.push_back(scale);
      for (std::int64_t r = row; r < end_row; ++r) {
        for (std::int64_t c = column; c < end; ++c)
          out.bytes[at(r, c)] = gpu::e4m3_of(x[at(r, c)] / scale);
      }
    }
  }
  return out;
}

std::vector<std::uint8_t> transposed(const std::vector<std::uint8_t>& x, std::int64_t rows,
                                     std::int64_t columns) {
  std::vector<std::uint8_t> out(x.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      out[static_cast<std::size_t>(c * rows + r)] = x[static_cast<std::size_t>(r * columns + c)];
    }
  }
  return out;
}

void check_quantise(Device& d, gpu::Type type, gpu::Tiles tiles, std::int64_t rows,
                    std::int64_t columns) {
  INFO(word(type) << ", tiles " << static_cast<int>(tiles) << ", " << rows << " by " << columns);
  Random random(9);
  std::vector<float> x = rounded(type, random_floats(rows * columns, random, 3));
  std::fill(x.begin(), x.begin() + std::min<std::int64_t>(columns, 128), 0.0f);
  const bool blocks = tiles == gpu::Tiles::Blocks || tiles == gpu::Tiles::BlocksTransposed;
  const bool turns = tiles == gpu::Tiles::Columns || tiles == gpu::Tiles::BlocksTransposed;
  const std::int64_t high = tiles == gpu::Tiles::Rows ? 1 : 128,
                     wide = tiles == gpu::Tiles::Columns ? 1 : 128;
  const Quantised truth = quantised(x, rows, columns, high, wide);
  const std::int64_t down = (rows + high - 1) / high, across = (columns + wide - 1) / wide;
  const std::int64_t stride = gpu::block_scale_stride(turns ? rows : columns);
  const std::int64_t count = blocks ? stride * (turns ? across : down) : down * across;

  const Values on_x = d.values(type, x), scales = d.result(gpu::Type::F32, count);
  const GpuMemory bytes = d.poisoned(rows * columns);
  d.run(gpu::Quantise{type, tiles, on_x.data(), rows, columns, bytes.as<std::uint8_t>(),
                      scales.floats()});
  CHECK(d.read_array<std::uint8_t>(bytes, rows * columns) ==
        (turns ? transposed(truth.bytes, rows, columns) : truth.bytes));
  const std::vector<float> found = d.read(scales);
  int wrong = 0;
  for (std::int64_t i = 0; i < down; ++i) {
    for (std::int64_t j = 0; j < across; ++j) {
      std::int64_t at = j * down + i;                         // Rows: (tiles, rows)
      if (tiles == gpu::Tiles::Columns) at = i * across + j;  // (tiles, columns)
      if (blocks) at = turns ? j * stride + i : i * stride + j;
      wrong += found[static_cast<std::size_t>(at)] !=
               truth.scales[static_cast<std::size_t>(i * across + j)];
    }
  }
  CHECK(wrong == 0);
  for (const float scale : found) CHECK(scale > 0);  // those that stand for nothing are 1
}

}  // namespace

TEST_CASE("gpu router: V3's groups, V2's softmax, every expert chosen, one group") {
  on_each_device([](Device& d) {
    check_router(d, {9, 256, 8, 8, 4, true, true, true});
    check_router(d, {5, 160, 6, 8, 3, false, false, false});
    check_router(d, {3, 8, 8, 1, 1, false, true, false});
    check_router(d, {6, 70, 2, 1, 1, true, true, false});
    if (!d.is_small()) check_router(d, {4096, 256, 8, 8, 4, true, true, true});
  });
}

TEST_CASE("gpu router: of equal scores the lower expert wins") {
  on_each_device([](Device& d) {
    const Values logits = d.values(gpu::Type::F32, std::vector<float>(64, 0.5f));
    const Values chosen = d.result(gpu::Type::F32, 9);
    d.run(gpu::Router{.logits = logits.floats(),
                      .chosen = chosen.floats(),
                      .rows = 1,
                      .experts = 64,
                      .top_k = 3});
    const std::vector<float> found = d.read(chosen);
    CHECK(std::vector<float>(found.begin(), found.begin() + 3) == std::vector<float>{0, 1, 2});
  });
}

TEST_CASE("gpu loss: a part's maximum and sum, and the gradient in place") {
  on_each_device([](Device& d) {
    for (const gpu::Type type : kTypes) {
      check_loss(d, type, 3, 4000, 4096);
      check_loss(d, type, 4, 77, 81);
      if (!d.is_small()) check_loss(d, type, 256, 129280, 129280);
    }
  });
}

TEST_CASE("gpu optimizer: AdamW, with moments and a copy of the weights in bf16") {
  on_each_device([](Device& d) {
    for (const std::int64_t count : {2048, 333}) {
      for (const gpu::Type state : kTypes) {
        INFO(count << " parameters, state in " << word(state));
        Random random(4);
        std::vector<float> w = random_floats(count, random),
                           m = rounded(state, random_floats(count, random));
        const std::vector<float> g = random_floats(count, random);
        std::vector<float> v = rounded(state, random_floats(count, random));
        for (float& x : v) x = std::fabs(x);
        const Values on_w = d.values(gpu::Type::F32, w), on_g = d.values(gpu::Type::F32, g);
        const Values on_m = d.values(state, m), on_v = d.values(state, v);
        const Values copy = d.result(gpu::Type::Bf16, count);
        const kernels::AdamW f{w.data(), g.data(), m.data(), v.data(), count, 1e-2,
                               0.9,      0.95,     1e-8,     0.1,      0.5,   3};
        kernels::adamw(f, 0, count);
        d.run(gpu::AdamW{on_w.floats(), on_g.floats(), state, on_m.data(), on_v.data(),
                         copy.memory.as<std::uint16_t>(), count, 1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5,
                         3});
        CHECK(distance(d.read(on_w), w) <= 1e-6);
        CHECK(distance(d.read(on_m), m) <= tolerance(state));
        CHECK(distance(d.read(on_v), v) <= tolerance(state));
        CHECK(distance(d.read(copy), w) <= 1e-2);
      }
    }
  });
}

TEST_CASE("gpu optimizer: the sum of squares") {
  on_each_device([](Device& d) {
    Random random(2);
    for (const std::int64_t count : {100003, 4096}) {
      const std::vector<float> x = random_floats(count, random);
      const Values on_x = d.values(gpu::Type::F32, x);
      const GpuMemory parts = d.poisoned(8 * gpu::kSumParts), sum = d.poisoned(8);
      d.run(gpu::SumOfSquares{gpu::Type::F32, on_x.data(), count, parts.as<double>(),
                              sum.as<double>()});
      CHECK(d.read_array<double>(sum, 1)[0] ==
            Approx(kernels::sum_of_squares(x.data(), count)).epsilon(1e-12));
    }
  });
}

TEST_CASE("e4m3: every number goes to the nearest of the 253, ties to even") {
  // All that E4M3 can say, in order; between two neighbours the nearer, and of both the even one.
  for (int byte = 0; byte < 0x7e; ++byte) {
    const float low = e4m3_value(static_cast<std::uint8_t>(byte));
    const float high = e4m3_value(static_cast<std::uint8_t>(byte + 1));
    const float middle = (low + high) / 2;
    CHECK(gpu::e4m3_of(low) == byte);
    CHECK(gpu::e4m3_of(-high) == 128 + byte + 1);
    CHECK(gpu::e4m3_of(std::nextafter(middle, low)) == byte);
    CHECK(gpu::e4m3_of(std::nextafter(middle, high)) == byte + 1);
    CHECK(gpu::e4m3_of(middle) == byte + byte % 2);
  }
  CHECK(gpu::e4m3_of(1e9f) == 0x7e);
  CHECK(gpu::e4m3_of(-INFINITY) == 0xfe);
  CHECK((gpu::e4m3_of(std::nanf("")) & 0x7f) == 0x7f);
}

TEST_CASE("e4m3: the device's and the processor's conversions are one") {
  for (std::uint32_t bits = 0x30000000u; bits < 0x48000000u; bits += 4099) {
    float x;
    std::memcpy(&x, &bits, 4);
    CHECK(gpu::e4m3_of(x) == kernels::to_e4m3(x));
    CHECK(gpu::e4m3_of(-x) == kernels::to_e4m3(-x));
  }
}

TEST_CASE("gpu quantise: bytes and scales are those of plain loops, each kind of tile") {
  on_each_device([](Device& d) {
    for (const gpu::Type type : kTypes) {
      for (const gpu::Tiles tiles : {gpu::Tiles::Rows, gpu::Tiles::Columns, gpu::Tiles::Blocks,
                                     gpu::Tiles::BlocksTransposed}) {
        check_quantise(d, type, tiles, 140, 192);
        check_quantise(d, type, tiles, 131, 67);
        if (!d.is_small()) check_quantise(d, type, tiles, 4096, 7168);
      }
    }
  });
}

}  // namespace narrows::test

// Norms, activations, rotations, rows: every kernel against the plain one of kernels/, at widths
// that allow 16 bytes at a time and at odd ones.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "gpu/device.h"
#include "kernels/activation.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/rows.h"

namespace narrows::test {
namespace {

// `test` for both types, on each device; the seed's numbers are the same for all.
void in_both_types(const std::function<void(Device&, gpu::Type, Random&)>& test) {
  on_each_device([&](Device& d) {
    for (const gpu::Type type : kTypes) {
      INFO(word(type));
      Random random(3);
      test(d, type, random);
    }
  });
}

std::vector<float> draw(gpu::Type type, std::int64_t count, Random& random) {
  return rounded(type, random_floats(count, random, 2));
}

std::vector<std::int32_t> positions_of(std::int64_t rows, std::int64_t below, Random& random) {
  std::vector<std::int32_t> out;
  for (std::int64_t r = 0; r < rows; ++r) {
    out.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(below))));
  }
  return out;
}

struct NormShape {
  std::int64_t rows, columns, stride;
};

void check_norm(Device& d, gpu::Type type, Random& random, const NormShape& s) {
  INFO(s.rows << " rows of " << s.columns << " in " << s.stride);
  const std::int64_t count = s.rows * s.stride;
  const std::vector<float> x = draw(type, count, random), dy = draw(type, count, random);
  const std::vector<float> add = draw(type, count, random),
                           weight = random_floats(s.columns, random);
  std::vector<float> dweight = random_floats(s.columns, random);
  const Values on_x = d.values(type, x), on_dy = d.values(type, dy), on_add = d.values(type, add);
  const Values on_weight = d.values(gpu::Type::F32, weight),
               on_dweight = d.values(gpu::Type::F32, dweight);

  std::vector<float> y(x.size()), dx(x.size()), inverse(static_cast<std::size_t>(s.rows));
  const kernels::Norm f{x.data(), weight.data(), y.data(), s.rows, s.columns, s.stride, 1e-5f};
  kernels::norm(f, 0, s.rows);
  const kernels::NormGrad g{f, dy.data(), add.data(), dx.data(), inverse.data(), dweight.data()};
  kernels::norm_grad(g, 0, s.rows);
  kernels::norm_weight_grad(g, 0, s.columns);

  const Values on_y = d.result(type, count), on_dx = d.result(type, count);
  const Values on_inverse = d.result(gpu::Type::F32, s.rows);
  const Values parts = d.result(gpu::Type::F32, gpu::norm_parts(s.rows) * s.columns);
  const gpu::Norm op{type,   on_x.data(), on_weight.floats(), on_y.data(),
                     s.rows, s.columns,   s.stride,           1e-5f};
  d.run(op);
  d.run(gpu::NormGrad{op, on_dy.data(), on_add.data(), on_dx.data(), on_inverse.floats(),
                      parts.floats(), on_dweight.floats()});
  CHECK(distance(d.read(on_y), y) <= tolerance(type));
  CHECK(distance(d.read(on_dx), dx) <= tolerance(type));
  CHECK(distance(d.read(on_dweight), dweight) <= 1e-5);
}

void check_swiglu(Device& d, gpu::Type type, Random& random, std::int64_t rows,
                  std::int64_t columns, bool weighs) {
  INFO(rows << " rows of " << columns << (weighs ? ", weighed" : ""));
  const std::vector<float> x = draw(type, 2 * rows * columns, random),
                           dy = draw(type, rows * columns, random);
  const std::vector<float> scale = random_floats(rows, random);
  std::vector<float> y(dy.size()), dx(x.size()), dscale(scale.size());
  const kernels::SwiGlu f{x.data(), weighs ? scale.data() : nullptr, y.data(), rows, columns};
  kernels::swiglu(f, 0, rows);
  kernels::swiglu_grad({f, dy.data(), dx.data(), weighs ? dscale.data() : nullptr}, 0, rows);

  const Values on_x = d.values(type, x), on_dy = d.values(type, dy),
               on_scale = d.values(gpu::Type::F32, scale);
  const Values on_y = d.result(type, rows * columns), on_dx = d.result(type, 2 * rows * columns);
  const Values on_dscale = d.result(gpu::Type::F32, rows);
  const gpu::SwiGlu op{type,        on_x.data(), weighs ? on_scale.floats() : nullptr,
                       on_y.data(), rows,        columns};
  d.run(op);
  d.run(gpu::SwiGluGrad{op, on_dy.data(), on_dx.data(), weighs ? on_dscale.floats() : nullptr});
  CHECK(distance(d.read(on_y), y) <= tolerance(type));
  CHECK(distance(d.read(on_dx), dx) <= tolerance(type));
  if (weighs) CHECK(distance(d.read(on_dscale), dscale) <= 1e-5);
}

// A table of the host's and its copy.
struct OnDevice {
  kernels::RotaryTable host;
  Values cosine, sine;
  gpu::Table table() const { return {cosine.floats(), sine.floats(), host.dim}; }
};
OnDevice table_of(Device& d, std::int64_t positions, std::int64_t dim) {
  kernels::RotaryTable host = kernels::rotary_table(positions, dim, 10000);
  Values cosine = d.values(gpu::Type::F32, host.cosine), sine = d.values(gpu::Type::F32, host.sine);
  return {std::move(host), std::move(cosine), std::move(sine)};
}

struct MlaShape {
  std::int64_t rows, heads, nope, value, dim, shared_stride;
};

void check_assembly(Device& d, gpu::Type type, Random& random, const MlaShape& s) {
  INFO(s.heads << " heads of " << s.nope << " + " << s.dim);
  const OnDevice table = table_of(d, 50, s.dim);
  const std::vector<std::int32_t> at = positions_of(s.rows, 50, random);
  const std::int64_t kv_count = s.rows * s.heads * (s.nope + s.value);
  const std::int64_t key_count = s.rows * s.heads * (s.nope + s.dim);
  const std::vector<float> kv = draw(type, kv_count, random), dkey = draw(type, key_count, random);
  const std::vector<float> shared = draw(type, s.rows * s.shared_stride, random);
  // What is not written stays: parts of values, and what stands beside the shared part.
  std::vector<float> dkv = draw(type, kv_count, random),
                     dshared = draw(type, s.rows * s.shared_stride, random);
  const Values on_kv = d.values(type, kv), on_dkey = d.values(type, dkey),
               on_shared = d.values(type, shared);
  const Values on_dkv = d.values(type, dkv), on_dshared = d.values(type, dshared);
  const Values on_key = d.result(type, key_count);
  const GpuMemory on_at = d.array(at);

  std::vector<float> key(dkey.size());
  const kernels::KeyAssembly f{kv.data(), shared.data(), s.shared_stride, key.data(), s.rows,
                               s.heads,   s.nope,        s.value,         at.data(),  &table.host};
  kernels::assemble_keys(f, 0, s.rows);
  kernels::assemble_keys_grad({f, dkey.data(), dkv.data(), dshared.data()}, 0, s.rows);

  const gpu::KeyAssembly op{
      type,    on_kv.data(), on_shared.data(), s.shared_stride,          on_key.data(), s.rows,
      s.heads, s.nope,       s.value,          on_at.as<std::int32_t>(), table.table()};
  d.run(op);
  d.run(gpu::KeyAssemblyGrad{op, on_dkey.data(), on_dkv.data(), on_dshared.data()});
  CHECK(distance(d.read(on_key), key) <= tolerance(type));
  CHECK(distance(d.read(on_dkv), dkv) <= tolerance(type));
  CHECK(distance(d.read(on_dshared), dshared) <= tolerance(type));
}

}  // namespace

TEST_CASE("gpu norm: forward, and the gradients of input and weights") {
  in_both_types([](Device& d, gpu::Type type, Random& random) {
    check_norm(d, type, random, {5, 64, 64});
    check_norm(d, type, random, {140, 512, 576});  // beside MLA's latent stands the rotated key
    check_norm(d, type, random, {3, 37, 41});
    if (!d.is_small()) check_norm(d, type, random, {4096, 7168, 7168});
  });
}

TEST_CASE("gpu activation: SwiGLU, its gradient, and that of a row's weight") {
  in_both_types([](Device& d, gpu::Type type, Random& random) {
    check_swiglu(d, type, random, 4, 2048, true);
    check_swiglu(d, type, random, 7, 30, true);
    check_swiglu(d, type, random, 3, 96, false);
    if (!d.is_small()) check_swiglu(d, type, random, 8192, 2048, true);
  });
}

TEST_CASE("gpu rope: heads are turned, and turned back") {
  in_both_types([](Device& d, gpu::Type type, Random& random) {
    for (const std::int64_t dim : {64, 20}) {
      const OnDevice table = table_of(d, 40, dim);
      const std::vector<std::int32_t> at = positions_of(9, 40, random);
      const GpuMemory on_at = d.array(at);
      for (const bool back : {false, true}) {
        std::vector<float> x = draw(type, 9 * 3 * 2 * dim, random);
        const Values on_x = d.values(type, x);
        kernels::rotate({x.data() + dim, 9, 6 * dim, 3, 2 * dim, at.data(), &table.host, back}, 0,
                        9);
        void* second = static_cast<char*>(on_x.data()) + dim * (type == gpu::Type::F32 ? 4 : 2);
        d.run(gpu::Rotation{type, second, 9, 6 * dim, 3, 2 * dim, on_at.as<std::int32_t>(),
                            table.table(), back});
        CHECK(distance(d.read(on_x), x) <= tolerance(type));
      }
    }
  });
}

TEST_CASE("gpu rope: MLA's keys are put together, and their gradients taken apart") {
  in_both_types([](Device& d, gpu::Type type, Random& random) {
    check_assembly(d, type, random, {6, 16, 128, 128, 64, 576});
    check_assembly(d, type, random, {5, 3, 10, 6, 12, 31});
    if (!d.is_small()) check_assembly(d, type, random, {2048, 128, 128, 128, 64, 576});
  });
}

TEST_CASE("gpu rows: picked, summed over lists, scattered") {
  in_both_types([](Device& d, gpu::Type type, Random& random) {
    for (const std::int64_t columns : {64, 33}) {
      const std::vector<float> from = draw(type, 20 * columns, random);
      const std::vector<std::int32_t> index = {3, -1, 19, 0, 3, 7};
      const std::vector<std::int32_t> begin = {0, 2, 2, 5}, slots = {1, 4, 0, 19, 4};
      const Values on_from = d.values(type, from);
      const GpuMemory on_index = d.array(index), on_begin = d.array(begin),
                      on_slots = d.array(slots);

      std::vector<float> picked(static_cast<std::size_t>(6 * columns));
      kernels::pick_rows({from.data(), index.data(), picked.data(), 6, columns, 0.5f}, 0, 6);
      const Values on_picked = d.result(type, 6 * columns);
      d.run(gpu::PickRows{type, on_from.data(), on_index.as<std::int32_t>(), on_picked.data(), 6,
                          columns, 0.5f});
      CHECK(distance(d.read(on_picked), picked) <= tolerance(type));

      std::vector<float> sums = draw(type, 3 * columns, random);
      for (const bool accumulate : {true, false}) {
        const Values on_sums = accumulate ? d.values(type, sums) : d.result(type, 3 * columns);
        kernels::sum_rows(
            {from.data(), begin.data(), slots.data(), sums.data(), 3, columns, accumulate}, 0, 3);
        d.run(gpu::SumRows{type, on_from.data(), on_begin.as<std::int32_t>(),
                           on_slots.as<std::int32_t>(), on_sums.data(), 3, columns, accumulate});
        CHECK(distance(d.read(on_sums), sums) <= tolerance(type));
      }

      std::vector<float> table = random_floats(20 * columns, random);
      const Values on_table = d.values(gpu::Type::F32, table);
      kernels::scatter_rows({from.data(), index.data(), table.data(), 6, columns}, 0, columns);
      d.run(gpu::ScatterRows{type, on_from.data(), on_index.as<std::int32_t>(), on_table.floats(),
                             6, columns});
      CHECK(distance(d.read(on_table), table) <= 1e-5);
    }
  });
}

TEST_CASE("gpu rows: sums and casts of whole arrays") {
  in_both_types([](Device& d, gpu::Type type, Random& random) {
    for (const std::int64_t count : {4096, 1003}) {
      const std::vector<float> a = draw(type, count, random), b = draw(type, count, random);
      std::vector<float> sum(a.size());
      kernels::add({a.data(), b.data(), sum.data(), count}, 0, count);
      const Values on_a = d.values(type, a), on_b = d.values(type, b),
                   on_sum = d.result(type, count);
      d.run(gpu::Add{type, on_a.data(), on_b.data(), on_sum.data(), count});
      CHECK(distance(d.read(on_sum), sum) <= tolerance(type));
      for (const gpu::Type other : kTypes) {
        const Values cast = d.result(other, count);
        d.run(gpu::Cast{type, other, on_a.data(), cast.data(), count});
        CHECK(d.read(cast) == rounded(other, a));
      }
    }
  });
}

TEST_CASE("gpu rows: random numbers lie about zero with deviation a half") {
  in_both_types([](Device& d, gpu::Type type, Random&) {
    const std::int64_t count = 20000;
    Values x = d.result(type, count);
    Device::need(x.memory.randomise(type, 11));
    const std::vector<float> drawn = d.read(x);
    double sum = 0, squares = 0;
    for (const float v : drawn) {
      sum += v;
      squares += double{v} * v;
    }
    CHECK(sum / count == Approx(0).margin(0.02));
    CHECK(squares / count == Approx(0.25).margin(0.01));
    Values y = d.result(type, count);
    Device::need(y.memory.randomise(type, 12));
    CHECK(distance(d.read(y), drawn) > 1);
  });
}

}  // namespace narrows::test

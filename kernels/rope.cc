// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

#include <cstring>
#include <type_traits>

#include "kernels/elementary.h"
#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

template <typename Element>
NARROWS_INLINE void rotate_halves(const Element* in, Element* out, const float* cosine,
                                  const float* sine, std::int64_t half, float sign) {
  for (std::int64_t j = 0; j < half; ++j) {
    const float a = wide_of(in[j]);
    const float b = wide_of(in[half + j]);
    const float s = sign * sine[j];
    put(out[j], a * cosine[j] - b * s);
    put(out[half + j], b * cosine[j] + a * s);
  }
}

template <typename Element>
NARROWS_INLINE void rotate_neighbours(const Element* in, Element* out, const float* cosine,
                                      const float* sine, std::int64_t half, float sign) {
  for (std::int64_t j = 0; j < half; ++j) {
    const float a = wide_of(in[2 * j]);
    const float b = wide_of(in[2 * j + 1]);
    const float s = sign * sine[j];
    put(out[2 * j], a * cosine[j] - b * s);
    put(out[2 * j + 1], b * cosine[j] + a * s);
  }
}

template <typename Element>
NARROWS_INLINE void rotate_vector(const RotaryTable& table, std::int64_t position,
                                  const Element* in, Element* out, float sign) {
  const std::int64_t half = table.dim / 2;
  const float* cosine = table.cosine.data() + position * half;
  const float* sine = table.sine.data() + position * half;
  if (table.neighbours) {
    rotate_neighbours(in, out, cosine, sine, half, sign);
  } else {
    rotate_halves(in, out, cosine, sine, half, sign);
  }
}

template <typename Element>
NARROWS_INLINE void assemble_row(const KeyAssembly& op, const Element* kvs, const Element* shared,
                                 Element* keys, std::int64_t r) {
  const std::int64_t dim = op.table->dim;
  const std::int64_t width = op.nope + dim;
  const Element* kv = kvs + r * op.heads * (op.nope + op.value);
  Element* key = keys + r * op.heads * width;
  Element* first = key + op.nope;
  rotate_vector(*op.table, op.positions[r], shared + r * op.shared_stride, first, 1.0f);
  if constexpr (std::is_same_v<Element, float>) {
    if (op.to_bf16) round_run(first, dim);
  }
  for (std::int64_t h = 0; h < op.heads; ++h) {
    std::memcpy(key + h * width, kv + h * (op.nope + op.value),
                static_cast<std::size_t>(op.nope) * sizeof(Element));
    if (h > 0) {
      std::memcpy(key + h * width + op.nope, first,
                  static_cast<std::size_t>(dim) * sizeof(Element));
    }
  }
}

}  // namespace

RotaryTable rotary_table(std::int64_t positions, std::int64_t dim, double theta) {
  std::vector<double> steps;
  for (std::int64_t j = 0; j < dim / 2; ++j) {
    steps.push_back(power(theta, -2.0 * static_cast<double>(j) / static_cast<double>(dim)));
  }
  return rotary_table(positions, steps, 1);
}

RotaryTable rotary_table(std::int64_t positions, const std::vector<double>& steps,
                         double amplitude) {
  const std::int64_t half = std::ssize(steps);
  RotaryTable table;
  table.dim = 2 * half;
  table.cosine.resize(static_cast<std::size_t>(positions * half));
  table.sine.resize(table.cosine.size());
  for (std::int64_t j = 0; j < half; ++j) {
    for (std::int64_t p = 0; p < positions; ++p) {
      const SineCosine at =
          sine_cosine(static_cast<double>(p) * steps[static_cast<std::size_t>(j)]);
      table.cosine[static_cast<std::size_t>(p * half + j)] =
          static_cast<float>(amplitude * at.cosine);
      table.sine[static_cast<std::size_t>(p * half + j)] = static_cast<float>(amplitude * at.sine);
    }
  }
  return table;
}

NARROWS_VECTORISED
void rotate(const Rotation& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    for (std::int64_t h = 0; h < op.heads; ++h) {
      const std::int64_t at = r * op.stride + h * op.head_stride;
      const float sign = op.back ? -1.0f : 1.0f;
      if (op.x_narrow != nullptr) {
        rotate_vector(*op.table, op.positions[r], op.x_narrow + at, op.x_narrow + at, sign);
        continue;
      }
      rotate_vector(*op.table, op.positions[r], op.x + at, op.x + at, sign);
      if (op.to_bf16) round_run(op.x + at, op.table->dim);
    }
  }
}

NARROWS_VECTORISED
void assemble_keys(const KeyAssembly& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    if (op.key_narrow != nullptr) {
      assemble_row(op, op.kv_narrow, op.shared_narrow, op.key_narrow, r);
    } else {
      assemble_row(op, op.kv, op.shared, op.key, r);
    }
  }
}

NARROWS_VECTORISED
void assemble_keys_grad(const KeyAssemblyGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const KeyAssembly& f = op.forward;
  const std::int64_t dim = f.table->dim;
  const std::int64_t width = f.nope + dim;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* dkey = op.dkey + r * f.heads * width;
    float* dkv = op.dkv + r * f.heads * (f.nope + f.value);
    float* dshared = op.dshared + r * f.shared_stride;
    for (std::int64_t c = 0; c < dim; ++c) dshared[c] = 0;
    for (std::int64_t h = 0; h < f.heads; ++h) {
      const float* head = dkey + h * width;
      std::memcpy(dkv + h * (f.nope + f.value), head,
                  static_cast<std::size_t>(f.nope) * sizeof(float));
      for (std::int64_t c = 0; c < dim; ++c) dshared[c] += head[f.nope + c];
    }
    rotate_vector(*f.table, f.positions[r], dshared, dshared, -1.0f);
  }
}

}  // namespace narrows::kernels

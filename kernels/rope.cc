// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

#include <cstring>

#include "kernels/elementary.h"
#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

NARROWS_INLINE void rotate_halves(const float* in, float* out, const float* cosine,
                                  const float* sine, std::int64_t half, float sign) {
  for (std::int64_t j = 0; j < half; ++j) {
    const float a = in[j];
    const float b = in[half + j];
    const float s = sign * sine[j];
    out[j] = a * cosine[j] - b * s;
    out[half + j] = b * cosine[j] + a * s;
  }
}

NARROWS_INLINE void rotate_neighbours(const float* in, float* out, const float* cosine,
                                      const float* sine, std::int64_t half, float sign) {
  for (std::int64_t j = 0; j < half; ++j) {
    const float a = in[2 * j];
    const float b = in[2 * j + 1];
    const float s = sign * sine[j];
    out[2 * j] = a * cosine[j] - b * s;
    out[2 * j + 1] = b * cosine[j] + a * s;
  }
}

NARROWS_INLINE void rotate_vector(const RotaryTable& table, std::int64_t position, const float* in,
                                  float* out, float sign) {
  const std::int64_t half = table.dim / 2;
  const float* cosine = table.cosine.data() + position * half;
  const float* sine = table.sine.data() + position * half;
  if (table.neighbours) {
    rotate_neighbours(in, out, cosine, sine, half, sign);
  } else {
    rotate_halves(in, out, cosine, sine, half, sign);
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
      float* x = op.x + r * op.stride + h * op.head_stride;
      rotate_vector(*op.table, op.positions[r], x, x, op.back ? -1.0f : 1.0f);
      if (op.to_bf16) round_run(x, op.table->dim);
    }
  }
}

NARROWS_VECTORISED
void assemble_keys(const KeyAssembly& op, std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t dim = op.table->dim;
  const std::int64_t width = op.nope + dim;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* kv = op.kv + r * op.heads * (op.nope + op.value);
    float* key = op.key + r * op.heads * width;
    float* first = key + op.nope;
    rotate_vector(*op.table, op.positions[r], op.shared + r * op.shared_stride, first, 1.0f);
    if (op.to_bf16) round_run(first, dim);
    for (std::int64_t h = 0; h < op.heads; ++h) {
      std::memcpy(key + h * width, kv + h * (op.nope + op.value),
                  static_cast<std::size_t>(op.nope) * sizeof(float));
      if (h > 0) {
        std::memcpy(key + h * width + op.nope, first,
                    static_cast<std::size_t>(dim) * sizeof(float));
      }
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

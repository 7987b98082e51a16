// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

#include <cstring>

#include "kernels/elementary.h"
#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

NARROWS_INLINE void rotate_vector(const float* in, float* out, const float* cosine,
                                  const float* sine, std::int64_t half, float sign) {
  for (std::int64_t j = 0; j < half; ++j) {
    const float a = in[j];
    const float b = in[half + j];
    const float s = sign * sine[j];
    out[j] = a * cosine[j] - b * s;
    out[half + j] = b * cosine[j] + a * s;
  }
}

}  // namespace

RotaryTable rotary_table(std::int64_t positions, std::int64_t dim, double theta) {
  const std::int64_t half = dim / 2;
  RotaryTable table{dim, {}, {}};
  table.cosine.resize(static_cast<std::size_t>(positions * half));
  table.sine.resize(table.cosine.size());
  for (std::int64_t j = 0; j < half; ++j) {
    const double step = power(theta, -2.0 * static_cast<double>(j) / static_cast<double>(dim));
    for (std::int64_t p = 0; p < positions; ++p) {
      const SineCosine at = sine_cosine(static_cast<double>(p) * step);
      table.cosine[static_cast<std::size_t>(p * half + j)] = static_cast<float>(at.cosine);
      table.sine[static_cast<std::size_t>(p * half + j)] = static_cast<float>(at.sine);
    }
  }
  return table;
}

NARROWS_VECTORISED
void rotate(const Rotation& op, std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t half = op.table->dim / 2;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* cosine = op.table->cosine.data() + op.positions[r] * half;
    const float* sine = op.table->sine.data() + op.positions[r] * half;
    for (std::int64_t h = 0; h < op.heads; ++h) {
      float* x = op.x + r * op.stride + h * op.head_stride;
      rotate_vector(x, x, cosine, sine, half, op.back ? -1.0f : 1.0f);
      if (op.to_bf16) round_run(x, 2 * half);
    }
  }
}

NARROWS_VECTORISED
void assemble_keys(const KeyAssembly& op, std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t dim = op.table->dim;
  const std::int64_t width = op.nope + dim;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* cosine = op.table->cosine.data() + op.positions[r] * (dim / 2);
    const float* sine = op.table->sine.data() + op.positions[r] * (dim / 2);
    const float* kv = op.kv + r * op.heads * (op.nope + op.value);
    float* key = op.key + r * op.heads * width;
    float* first = key + op.nope;
    rotate_vector(op.shared + r * op.shared_stride, first, cosine, sine, dim / 2, 1.0f);
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
    const float* cosine = f.table->cosine.data() + f.positions[r] * (dim / 2);
    const float* sine = f.table->sine.data() + f.positions[r] * (dim / 2);
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
    rotate_vector(dshared, dshared, cosine, sine, dim / 2, -1.0f);
  }
}

}  // namespace narrows::kernels

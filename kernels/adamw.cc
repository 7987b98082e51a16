// SPDX-License-Identifier: Apache-2.0
#include "kernels/adamw.h"

#include <cmath>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

struct Factors {
  float keep;    // 1 - lr decay
  float step;    // lr / (1 - beta1^t)
  float root;    // 1 / sqrt(1 - beta2^t)
  float fresh1;  // 1 - beta1
  float beta2;
  float fresh2;
  float epsilon;
  float scale;
};

double whole_power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1) result *= base;
    base *= base;
  }
  return result;
}

Factors factors_of(const AdamW& op) {
  return {.keep = static_cast<float>(1 - op.learning_rate * op.decay),
          .step = static_cast<float>(op.learning_rate / (1 - whole_power(op.beta1, op.step))),
          .root = static_cast<float>(1 / std::sqrt(1 - whole_power(op.beta2, op.step))),
          .fresh1 = static_cast<float>(1 - op.beta1),
          .beta2 = static_cast<float>(op.beta2),
          .fresh2 = static_cast<float>(1 - op.beta2),
          .epsilon = static_cast<float>(op.epsilon),
          .scale = static_cast<float>(op.gradient_scale)};
}

NARROWS_INLINE float stepped(float w, float m, float v, const Factors& f) {
  return w * f.keep - f.step * m / (std::sqrt(v) * f.root + f.epsilon);
}

NARROWS_VECTORISED
void update(float* w, const float* gradient, float* m, float* v, std::int64_t count,
            const Factors& f) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * f.scale;
    m[i] += f.fresh1 * (g - m[i]);
    v[i] = f.beta2 * v[i] + f.fresh2 * g * g;
    w[i] = stepped(w[i], m[i], v[i], f);
  }
}

NARROWS_VECTORISED
void update_narrow(float* w, const float* gradient, std::uint16_t* m, std::uint16_t* v,
                   std::int64_t count, const Factors& f) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * f.scale;
    const float first = wide_of(m[i]);
    const float fresh = first + f.fresh1 * (g - first);
    const float second = f.beta2 * wide_of(v[i]) + f.fresh2 * g * g;
    w[i] = stepped(w[i], fresh, second, f);
    put(m[i], fresh);
    put(v[i], second);
  }
}

}  // namespace

void adamw(const AdamW& op, std::int64_t first, std::int64_t last) {
  float* const weight = op.weight + first;
  const float* const gradient = op.gradient + first;
  const Factors factors = factors_of(op);
  if (op.first_narrow != nullptr) {
    update_narrow(weight, gradient, op.first_narrow + first, op.second_narrow + first, last - first,
                  factors);
  } else {
    update(weight, gradient, op.first_moment + first, op.second_moment + first, last - first,
           factors);
  }
}

}  // namespace narrows::kernels

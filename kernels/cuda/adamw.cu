// AdamW over a range of parameters (formula: kernels/adamw.h), and the sum of squares that clipping
// needs.
//
// Floor, bytes a parameter: 28 with f32 state, 20 with bf16 state, 2 more with a bf16 copy; the sum
// of squares reads the gradient once. FLOPs: some 15 a parameter.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

// The op with its factors, made in double on the host.
struct Update {
  float* weight;
  const float* gradient;
  void* first;
  void* second;
  std::uint16_t* copy;
  std::int64_t count;
  float keep, step, root, fresh1, beta2, fresh2, epsilon, scale;
};

double whole_power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 == 1) result *= base;
  }
  return result;
}

Update update_of(const AdamW& op) {
  return {.weight = op.weight,
          .gradient = op.gradient,
          .first = op.first_moment,
          .second = op.second_moment,
          .copy = op.copy,
          .count = op.count,
          .keep = static_cast<float>(1 - op.learning_rate * op.decay),
          .step = static_cast<float>(op.learning_rate / (1 - whole_power(op.beta1, op.step))),
          .root = static_cast<float>(1 / std::sqrt(1 - whole_power(op.beta2, op.step))),
          .fresh1 = static_cast<float>(1 - op.beta1),
          .beta2 = static_cast<float>(op.beta2),
          .fresh2 = static_cast<float>(1 - op.beta2),
          .epsilon = static_cast<float>(op.epsilon),
          .scale = static_cast<float>(op.gradient_scale)};
}

template <typename State, int kWidth>
__global__ void adamw_kernel(const Update u) {
  State* first = static_cast<State*>(u.first);
  State* second = static_cast<State*>(u.second);
  const std::int64_t step = static_cast<std::int64_t>(blocks_x()) * threads() * kWidth;
  float w[kWidth], g[kWidth], m[kWidth], v[kWidth];
  for (std::int64_t i = (static_cast<std::int64_t>(block_x()) * threads() + thread()) * kWidth;
       i < u.count; i += step) {
    load<kWidth>(u.weight + i, w);
    load<kWidth>(u.gradient + i, g);
    load<kWidth>(first + i, m);
    load<kWidth>(second + i, v);
    for (int j = 0; j < kWidth; ++j) {
      const float scaled = g[j] * u.scale;
      m[j] += u.fresh1 * (scaled - m[j]);
      v[j] = u.beta2 * v[j] + u.fresh2 * scaled * scaled;
      w[j] = w[j] * u.keep - u.step * m[j] / (sqrtf(v[j]) * u.root + u.epsilon);
    }
    store<kWidth>(u.weight + i, w);
    store<kWidth>(first + i, m);
    store<kWidth>(second + i, v);
    if (u.copy != nullptr) store<kWidth>(reinterpret_cast<Bf16*>(u.copy) + i, w);
  }
}

template <typename T, int kWidth>
__global__ void squares_kernel(const SumOfSquares op) {
  const std::int64_t step = static_cast<std::int64_t>(blocks_x()) * threads() * kWidth;
  float v[kWidth];
  double sum = 0;
  for (std::int64_t i = (static_cast<std::int64_t>(block_x()) * threads() + thread()) * kWidth;
       i < op.count; i += step) {
    load<kWidth>(static_cast<const T*>(op.x) + i, v);
    for (int j = 0; j < kWidth; ++j) sum += static_cast<double>(v[j]) * static_cast<double>(v[j]);
  }
  sum = block_sum(sum, shared<double>());
  if (thread() == 0) op.partial[block_x()] = sum;
}

__global__ void squares_sum_kernel(const SumOfSquares op, const int parts) {
  double sum = 0;
  for (int i = thread(); i < parts; i += threads()) sum += op.partial[i];
  sum = block_sum(sum, shared<double>());
  if (thread() == 0) *op.sum = sum;
}

}  // namespace

Code run(Context& context, const AdamW& op) {
  const Update update = update_of(op);
  const bool wide = op.count % 4 == 0 &&
                    aligned(16, op.weight, op.gradient, op.first_moment, op.second_moment, op.copy);
  const auto go = [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = stride_blocks(op.count, E::kWidth, context.multiprocessors)};
    return start(context, "AdamW", adamw_kernel<typename E::Of, E::kWidth>, how, update);
  };
  if (op.state == Type::F32) return wide ? go(Element<float, 4>()) : go(Element<float, 1>());
  return wide ? go(Element<Bf16, 4>()) : go(Element<Bf16, 1>());
}

Code run(Context& context, const SumOfSquares& op) {
  const bool wide = op.count % full_width(op.type) == 0 && aligned(16, op.x);
  return by_element(op.type, wide, [&](auto e) {
    using E = decltype(e);
    const int blocks = stride_blocks(op.count, E::kWidth, context.multiprocessors);
    const int parts = blocks < kSumParts ? blocks : kSumParts;
    const Launch how{.x = parts, .shared_bytes = 256};
    const Code code =
        start(context, "sum of squares", squares_kernel<typename E::Of, E::kWidth>, how, op);
    if (code != Code::Ok) return code;
    return start(context, "sum of squares", squares_sum_kernel, Launch{.shared_bytes = 256}, op,
                 parts);
  });
}

}  // namespace narrows::gpu

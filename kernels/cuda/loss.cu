// Cross-entropy over a part of the vocabulary (kernels/loss.h), a block a token. Maximum and sum
// come out of one pass: each thread rescales its sum when its maximum rises (milakov2018).
//
// Floor, bytes of t a token of v columns: maximum and sum t v, gradient 2 t v.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

__device__ __forceinline__ float lowest() { return as_float(0xff7fffffu); }

template <typename T, int kWidth>
__global__ void partial_kernel(const PartialSoftmax op) {
  const std::int64_t row = block_x();
  const T* logits = static_cast<const T*>(op.logits) + row * op.stride;
  float v[kWidth];
  float most = lowest(), sum = 0;
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += threads() * kWidth) {
    load<kWidth>(logits + c, v);
    float higher = most;
    for (int i = 0; i < kWidth; ++i) higher = fmaxf(higher, v[i]);
    sum *= exp_fully(most - higher);
    most = higher;
    for (int i = 0; i < kWidth; ++i) sum += exp_fully(v[i] - most);
  }
  const float all = block_max(most, shared<float>());
  sum = block_sum(sum * exp_fully(most - all), shared<float>(128));
  if (thread() != 0) return;
  const std::int64_t target = op.targets[row] - op.first;
  const bool here = target >= 0 && target < op.columns;
  op.parts[3 * row] = all;
  op.parts[3 * row + 1] = sum;
  op.parts[3 * row + 2] = here ? to_float(logits[target]) : 0.0f;
}

template <typename T, int kWidth>
__global__ void grad_kernel(const LossGrad op) {
  const std::int64_t row = block_x();
  T* logits = static_cast<T*>(op.logits) + row * op.stride;
  const float most = op.parts[3 * row];
  const float share = op.scale / op.parts[3 * row + 1];
  const std::int64_t target = op.targets[row] - op.first;
  float v[kWidth];
  for (std::int64_t c = thread() * kWidth; c < op.columns; c += threads() * kWidth) {
    load<kWidth>(logits + c, v);
    for (int i = 0; i < kWidth; ++i) {
      v[i] = exp_fully(v[i] - most) * share - (c + i == target ? op.scale : 0.0f);
    }
    store<kWidth>(logits + c, v);
  }
  for (std::int64_t c = op.columns + thread(); c < op.stride; c += threads()) set(logits[c], 0.0f);
}

// Rows are long: the block is as large as blocks of rows get.
template <typename Op>
bool wide(const Op& op) {
  const int width = full_width(op.type);
  return op.columns % width == 0 && op.stride % width == 0 && aligned(16, op.logits);
}

}  // namespace

Code run(Context& context, const PartialSoftmax& op) {
  return by_element(op.type, wide(op), [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows),
                     .threads = row_threads(op.columns, E::kWidth),
                     .shared_bytes = 256};
    return start(context, "softmax", partial_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

Code run(Context& context, const LossGrad& op) {
  return by_element(op.type, wide(op), [&](auto e) {
    using E = decltype(e);
    const Launch how{.x = static_cast<int>(op.rows), .threads = row_threads(op.columns, E::kWidth)};
    return start(context, "loss gradient", grad_kernel<typename E::Of, E::kWidth>, how, op);
  });
}

}  // namespace narrows::gpu

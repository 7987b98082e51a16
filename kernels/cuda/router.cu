// The choice of a token's experts and its gradient (kernels/router.h), a warp a token: scores and
// keys stand in shared memory, each choice is a maximum over the warp.
//
// Floor, bytes a token of e experts: forward 4 e + 12 k, backward 8 e + 16 k. A V3 token's 8
// choices out of 256 are some 3,000 instructions of a warp, so that small batches are bound by
// these.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

constexpr int kWarps = 4;  // of a block
constexpr int kMaxExperts = 1024;
constexpr int kMaxGroups = 64;
constexpr int kMaxChoices = 32;

__device__ __forceinline__ float never() { return as_float(0xff800000u); }  // minus infinity

__device__ __forceinline__ float warp_sum(float value) {
  for (int mask = 16; mask > 0; mask /= 2) value += from_lane_xor(value, mask);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
  for (int mask = 16; mask > 0; mask /= 2) value = fmaxf(value, from_lane_xor(value, mask));
  return value;
}

// The place of the largest of `values`, of equals the lowest. All lanes of the warp call it.
__device__ __forceinline__ int best_of(const float* values, int count, int lane) {
  float best = never();
  int place = lane < count ? lane : kMaxExperts;
  for (int i = lane; i < count; i += 32) {
    if (values[i] > best) {
      best = values[i];
      place = i;
    }
  }
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = from_lane_xor(best, mask);
    const int other_place = from_lane_xor(place, mask);
    const bool take = other > best || (other == best && other_place < place);
    best = take ? other : best;
    place = take ? other_place : place;
  }
  return place;
}

__device__ __forceinline__ void scores_of(const Router& op, const float* logits, float* scores,
                                          int lane) {
  const int experts = static_cast<int>(op.experts);
  if (op.sigmoid) {
    for (int e = lane; e < experts; e += 32) scores[e] = 1.0f / (1.0f + exp_fully(-logits[e]));
    warp_barrier();
    return;
  }
  float most = never();
  for (int e = lane; e < experts; e += 32) most = fmaxf(most, logits[e]);
  most = warp_max(most);
  float sum = 0;
  for (int e = lane; e < experts; e += 32) {
    scores[e] = exp_fully(logits[e] - most);
    sum += scores[e];
  }
  sum = warp_sum(sum);
  for (int e = lane; e < experts; e += 32) scores[e] /= sum;
  warp_barrier();
}

__device__ __forceinline__ float group_score(const Router& op, const float* keys, int size) {
  float best = keys[0], second = never();
  for (int e = 1; e < size; ++e) {
    if (keys[e] > best) {
      second = best;
      best = keys[e];
    } else {
      second = fmaxf(second, keys[e]);
    }
  }
  return op.sigmoid && size > 1 ? best + second : best;
}

__device__ __forceinline__ void limit_groups(const Router& op, float* keys, float* groups,
                                             int lane) {
  const int count = static_cast<int>(op.groups);
  const int size = static_cast<int>(op.experts / op.groups);
  for (int g = lane; g < count; g += 32) groups[g] = group_score(op, keys + g * size, size);
  warp_barrier();
  for (int i = 0; i < op.top_groups; ++i) {
    const int chosen = best_of(groups, count, lane);
    warp_barrier();
    if (lane == 0) groups[chosen] = never();
    warp_barrier();
  }
  for (int e = lane; e < op.experts; e += 32) {
    if (groups[e / size] != never()) keys[e] = never();
  }
  warp_barrier();
}

__global__ void router_kernel(const Router op) {
  const int lane = thread() % 32;
  const int warp = thread() / 32;
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kWarps + warp;
  if (row >= op.rows) return;
  const int experts = static_cast<int>(op.experts);
  float* scores = shared<float>() + warp * (2 * experts + kMaxGroups + kMaxChoices);
  float* keys = scores + experts;
  float* groups = keys + experts;
  float* picked = groups + kMaxGroups;  // scores of the choices
  scores_of(op, op.logits + row * op.experts, scores, lane);
  for (int e = lane; e < experts; e += 32) {
    keys[e] = scores[e] + (op.bias == nullptr ? 0.0f : op.bias[e]);
  }
  warp_barrier();
  if (op.top_groups < op.groups) limit_groups(op, keys, groups, lane);
  float* index = op.chosen + row * 3 * op.top_k;
  float sum = 0;
  for (int k = 0; k < op.top_k; ++k) {
    const int e = best_of(keys, experts, lane);
    const float score = scores[e];
    sum += score;
    warp_barrier();
    if (lane == 0) {
      index[k] = static_cast<float>(e);
      picked[k] = score;
      keys[e] = never();
    }
    warp_barrier();
  }
  for (int k = lane; k < op.top_k; k += 32) {
    index[op.top_k + k] = op.scale * (op.normalise ? picked[k] / sum : picked[k]);
    index[2 * op.top_k + k] = picked[k];
  }
}

__global__ void router_grad_kernel(const RouterGrad op) {
  const Router& f = op.forward;
  const int lane = thread() % 32;
  const int warp = thread() / 32;
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kWarps + warp;
  if (row >= f.rows) return;
  const int experts = static_cast<int>(f.experts);
  float* scores = shared<float>() + warp * 2 * experts;
  float* dscores = scores + experts;
  scores_of(f, f.logits + row * f.experts, scores, lane);
  for (int e = lane; e < experts; e += 32) dscores[e] = 0;
  warp_barrier();
  const float* index = f.chosen + row * 3 * f.top_k;
  const float* picked = index + 2 * f.top_k;
  const float* dweights = op.dweights + row * f.top_k;
  float sum = 0, both = 0;
  for (int k = 0; k < f.top_k; ++k) {
    sum += picked[k];
    both += dweights[k] * picked[k];
  }
  for (int k = lane; k < f.top_k; k += 32) {
    const float d = f.normalise ? (dweights[k] - both / sum) / sum : dweights[k];
    dscores[static_cast<int>(index[k])] = f.scale * d;
  }
  warp_barrier();
  float inner = 0;
  for (int e = lane; e < experts; e += 32) inner += dscores[e] * scores[e];
  inner = warp_sum(inner);
  float* dlogits = op.dlogits + row * f.experts;
  for (int e = lane; e < experts; e += 32) {
    dlogits[e] =
        f.sigmoid ? dscores[e] * scores[e] * (1.0f - scores[e]) : scores[e] * (dscores[e] - inner);
  }
}

Code check(Context& context, const Router& op) {
  const bool fits = op.experts >= 1 && op.experts <= kMaxExperts && op.groups >= 1 &&
                    op.groups <= kMaxGroups && op.experts % op.groups == 0 && op.top_k >= 1 &&
                    op.top_k <= kMaxChoices && op.top_k <= op.experts;
  if (fits) return Code::Ok;
  return refuse(context, Code::Unsupported,
                "router: %lld experts in %lld groups, %lld chosen; expected at most %d, %d, %d",
                static_cast<long long>(op.experts), static_cast<long long>(op.groups),
                static_cast<long long>(op.top_k), kMaxExperts, kMaxGroups, kMaxChoices);
}

Launch launch_of(const Router& op, std::int64_t floats) {
  return {.x = static_cast<int>((op.rows + kWarps - 1) / kWarps),
          .threads = 32 * kWarps,
          .shared_bytes = static_cast<int>(kWarps * floats * 4)};
}

}  // namespace

Code run(Context& context, const Router& op) {
  const Code fits = check(context, op);
  if (fits != Code::Ok) return fits;
  return start(context, "router", router_kernel,
               launch_of(op, 2 * op.experts + kMaxGroups + kMaxChoices), op);
}

Code run(Context& context, const RouterGrad& op) {
  const Code fits = check(context, op.forward);
  if (fits != Code::Ok) return fits;
  return start(context, "router gradient", router_grad_kernel,
               launch_of(op.forward, 2 * op.forward.experts), op);
}

}  // namespace narrows::gpu

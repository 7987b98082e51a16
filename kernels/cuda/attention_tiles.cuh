// What attention's kernels share beside tiles.cuh: where heads lie, who sees whom, and which head
// dims there are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/tiles.cuh"

namespace narrows::gpu {

inline constexpr float kLog2E = 1.4426950408889634f;

// Rows of one head of one sequence.
__device__ __forceinline__ Bf16* rows_of(const Heads& heads, std::int64_t row, std::int64_t head) {
  return static_cast<Bf16*>(heads.data) + row * heads.row_stride + head * heads.head_stride;
}
__device__ __forceinline__ int position_of(const Attention& op, std::int64_t query) {
  return op.positions == nullptr ? static_cast<int>(op.keys - op.queries + query)
                                 : op.positions[query];
}
__device__ __forceinline__ bool sees(const Attention& op, int position, int key) {
  return key <= position && (op.window == 0 || key > position - op.window);
}

inline float scale_of(const Attention& op) { return 1.0f / sqrtf(static_cast<float>(op.qk_dim)); }

// Why the kernels cannot take these heads, or null.
Code check_attention(Context& context, const Attention& op);

// `make` with the head dims as constants. Only those that check_attention lets pass.
template <int kQk, int kV>
struct Dims {
  static constexpr int kQkDim = kQk;
  static constexpr int kVDim = kV;
};
template <typename Make>
Code by_dims(const Attention& op, const Make& make) {
  if (op.qk_dim == 64) return make(Dims<64, 64>());
  return op.qk_dim == 128 ? make(Dims<128, 128>()) : make(Dims<192, 128>());
}

}  // namespace narrows::gpu

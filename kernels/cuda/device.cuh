// What our kernels use of a GPU, as a few functions: who am I, exchange within a warp, asynchronous
// copies to shared memory, tensor-core products, and the launch. Kernels say nothing else in CUDA,
// so that the tests can compile the same kernels for the host and run a block's threads in turn
// between barriers (tests/gpu/emulation.h has a twin of each function here).
//
// Fragments of `multiply` (mma.m16n8k16; lane l, g = l / 4, t = l % 4):
//   a[0..3]  rows g, g + 8, g, g + 8; k 2t, 2t + 1 and, of the last two, 8 more
//   b[0..1]  column g; k 2t, 2t + 1 and 8 more
//   d[0..3]  row g: columns 2t, 2t + 1; row g + 8: the same
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/cuda/e4m3.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

namespace narrows::gpu {

inline constexpr bool kEmulated = false;

__device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int threads() { return static_cast<int>(blockDim.x); }
__device__ __forceinline__ int block_x() { return static_cast<int>(blockIdx.x); }
__device__ __forceinline__ int block_y() { return static_cast<int>(blockIdx.y); }
__device__ __forceinline__ int block_z() { return static_cast<int>(blockIdx.z); }
__device__ __forceinline__ int blocks_x() { return static_cast<int>(gridDim.x); }
__device__ __forceinline__ void barrier() { __syncthreads(); }
__device__ __forceinline__ void warp_barrier() { __syncwarp(); }

// The block's dynamic shared memory, from byte `offset` on.
template <typename T>
__device__ __forceinline__ T* shared(int offset = 0) {
  extern __shared__ __align__(128) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes + offset);
}

template <typename T>
__device__ __forceinline__ T from_lane_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

__device__ __forceinline__ void add_atomically(float* to, float value) { atomicAdd(to, value); }

// 2^x, within 2 ulp; 0 of minus infinity.
__device__ __forceinline__ float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float exp_fully(float x) { return expf(x); }
__device__ __forceinline__ float log_fully(float x) { return logf(x); }

// Two bf16, `low` in the lower half; to nearest, ties to even.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// E4M3 (micikevicius2022), to nearest, ties to even; beyond 448 it is 448. The chip's own
// conversion from sm_89 on.
__device__ __forceinline__ std::uint8_t to_e4m3(float x) {
#if __CUDA_ARCH__ >= 890
  std::uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return static_cast<std::uint8_t>(pair);
#else
  return e4m3_of(x);
#endif
}

// 16 bytes on their way from global to shared memory; zeros where not `valid`.
__device__ __forceinline__ void copy_async(void* to, const void* from, bool valid) {
  const std::uint32_t at = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until all but the last `kPending` committed groups of this thread have arrived.
template <int kPending>
__device__ __forceinline__ void await_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Four 8x8 matrices of bf16 from shared memory: lanes 8i .. 8i + 7 point to the rows of matrix i;
// lane l gets of row l / 4 the elements 2 (l % 4) and the next.
__device__ __forceinline__ void load_matrices(std::uint32_t (&out)[4], const void* row) {
  const std::uint32_t at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(at)
               : "memory");
}
// The same of each matrix transposed.
__device__ __forceinline__ void load_transposed(std::uint32_t (&out)[4], const void* row) {
  const std::uint32_t at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(at)
               : "memory");
}
// d += a b.
__device__ __forceinline__ void multiply(float (&d)[4], const std::uint32_t (&a)[4],
                                         std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same of f16.
__device__ __forceinline__ void multiply_f16(float (&d)[4], const std::uint32_t (&a)[4],
                                             std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four E4M3 as f16, which holds them exactly: the lower two bytes' and the upper two's. The chip's
// own conversion from sm_89 on. Before, E4M3's bits are moved into f16's exponent and mantissa,
// where they stand for 2^-8 of it, denormal ones too.
__device__ __forceinline__ void widen_e4m3(std::uint32_t bytes, std::uint32_t& low,
                                           std::uint32_t& high) {
#if __CUDA_ARCH__ >= 890
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.rn.f16x2.e4m3x2 %0, l; cvt.rn.f16x2.e4m3x2 %1, h;}"
      : "=r"(low), "=r"(high)
      : "r"(bytes));
#else
  const std::uint32_t spread[2] = {__byte_perm(bytes, 0, 0x1404), __byte_perm(bytes, 0, 0x3424)};
  std::uint32_t out[2];
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t small = (spread[i] & 0x80008000u) | (spread[i] >> 1 & 0x3f803f80u);
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(out[i]) : "r"(small), "r"(0x5c005c00u));
  }
  // 0x7f and 0xff are not numbers, and stay so.
  const std::uint32_t none = ((bytes & 0x7f7f7f7fu) + 0x01010101u) & 0x80808080u;
  if (none != 0) {
    for (int i = 0; i < 2; ++i) {
      if ((none >> (16 * i) & 0x80u) != 0) out[i] |= 0x7fffu;
      if ((none >> (16 * i) & 0x8000u) != 0) out[i] |= 0x7fff0000u;
    }
  }
  low = out[0];
  high = out[1];
#endif
}

struct Launch {
  int x = 1, y = 1, z = 1;  // blocks
  int threads = 256;
  int shared_bytes = 0;
};

// "" or the runtime's word for what went wrong.
template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), const Launch& how, void* stream,
                   const Arguments&... arguments) {
  if (how.shared_bytes > 48 * 1024) {
    const cudaError_t allowed =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, how.shared_bytes);
    if (allowed != cudaSuccess) return cudaGetErrorString(allowed);
  }
  kernel<<<dim3(how.x, how.y, how.z), how.threads, how.shared_bytes,
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  const cudaError_t started = cudaGetLastError();
  return started == cudaSuccess ? "" : cudaGetErrorString(started);
}

}  // namespace narrows::gpu
#endif

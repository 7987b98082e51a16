// Our CUDA kernels on the host: the twin of each function of kernels/cuda/device.cuh, so that the
// same sources compile with the host's compiler and a block's threads run in turn between barriers.
// What this shows: index arithmetic, fragments, tile walks, barriers that are missing (each test
// runs its threads in both orders; shared memory and outputs start as not-a-number; asynchronous
// copies arrive only when waited for), and reads outside of memory, under the address sanitizer.
// What it cannot show: times, and what the chip rounds differently.
//
// Included before everything else of a kernel's source (-include).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace narrows::gpu {

inline constexpr bool kEmulated = true;

struct Launch {
  int x = 1, y = 1, z = 1;
  int threads = 256;
  int shared_bytes = 0;
};

namespace emulated {

// Whether the threads of a block run from the last to the first.
void run_backwards(bool backwards);
// Every thread of every block runs `body`, one block after the other.
void run_blocks(const Launch& how, const std::function<void()>& body);

struct Place {
  int thread = 0, x = 0, y = 0, z = 0;
  Launch how;
};
const Place& place();
void barrier();
void warp_barrier();
unsigned char* shared_bytes();

// What the lanes of a warp show one another: every lane gives 32 bytes and sees what all gave.
struct Shown {
  std::uint64_t words[4];
};
const Shown* show(const Shown& mine);

void copy_async(void* to, const void* from, bool valid);
void commit_copies();
void await_copies(int pending);

}  // namespace emulated

inline int thread() { return emulated::place().thread; }
inline int threads() { return emulated::place().how.threads; }
inline int block_x() { return emulated::place().x; }
inline int block_y() { return emulated::place().y; }
inline int block_z() { return emulated::place().z; }
inline int blocks_x() { return emulated::place().how.x; }
inline void barrier() { emulated::barrier(); }
inline void warp_barrier() { emulated::warp_barrier(); }

template <typename T>
T* shared(int offset = 0) {
  return reinterpret_cast<T*>(emulated::shared_bytes() + offset);
}

template <typename T>
T from_lane_xor(T value, int mask) {
  emulated::Shown mine{};
  std::memcpy(mine.words, &value, sizeof value);
  const emulated::Shown* all = emulated::show(mine);
  T out;
  std::memcpy(&out, all[(thread() % 32) ^ mask].words, sizeof out);
  return out;
}

inline void add_atomically(float* to, float value) { *to += value; }
inline float exp2_of(float x) { return std::exp2(x); }
inline float exp_fully(float x) { return std::exp(x); }
inline float log_fully(float x) { return std::log(x); }

inline std::uint32_t bf16_bits(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
inline float bf16_value(std::uint32_t bits) {
  bits = (bits & 0xffffu) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline std::uint32_t pack_bf16(float low, float high) {
  return bf16_bits(low) | bf16_bits(high) << 16;
}

std::uint8_t to_e4m3(float x);
float e4m3_value(std::uint32_t byte);

inline void copy_async(void* to, const void* from, bool valid) {
  emulated::copy_async(to, from, valid);
}
inline void commit_copies() { emulated::commit_copies(); }
template <int kPending>
void await_copies() {
  emulated::await_copies(kPending);
}

void load_matrices(std::uint32_t (&out)[4], const void* row);
void load_transposed(std::uint32_t (&out)[4], const void* row);
void multiply(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
void multiply_f16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
void widen_e4m3(std::uint32_t bytes, std::uint32_t& low, std::uint32_t& high);

template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), const Launch& how, void*,
                   const Arguments&... arguments) {
  emulated::run_blocks(how, [&] { kernel(arguments...); });
  return "";
}

}  // namespace narrows::gpu

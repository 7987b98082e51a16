// The border of gpu.so, the one module that knows CUDA. The program opens it at run time
// (runtime/gpu_module.h), so that it starts on machines without a driver; what crosses is plain
// data and one table of functions, and neither side links the other.
//
// An op is a struct of shapes and pointers to the device's memory, the twin of the struct of that
// name in kernels/; `run` starts it on the context's stream and returns before it is done. Dense
// matmuls are cuBLASLt's, all else is ours. Sums are f32 everywhere, whatever the operands are
// stored in.
//
// A verb returns Code::Ok or what refused it; `problem` then holds the sentence. Floors: a matmul
// is bound by 2 m n k over the chip's FLOP/s, an op without matmul by its bytes over the bandwidth
// of the memory; both stand beside each kernel.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/gpu_moves.h"
#include "kernels/cuda/gpu_multiply.h"
#include "kernels/cuda/gpu_training.h"
#include "kernels/cuda/gpu_verb.h"

namespace narrows::gpu {

// Raised whenever a struct below changes.
inline constexpr std::int32_t kVersion = 2;
inline constexpr const char* kEntry = "narrows_gpu_api";

// Between memories, by the copy engines or, on the device, by its own.
enum class Path : std::int32_t { DeviceToDevice, HostToDevice, DeviceToHost };
struct Copy {
  static constexpr Verb kVerb = Verb::Copy;
  Path path = Path::DeviceToDevice;
  const void* from = nullptr;
  void* to = nullptr;
  std::int64_t bytes = 0;
};

// Of the ranks that `join` brought together, by NCCL. `count` elements of a rank: of AllReduce,
// Broadcast and SendReceive the buffer, of AllGather what a rank gives, of ReduceScatter what it
// gets, of AllToAll what it sends to each rank. SendReceive: from `peer` and to `peer` at once;
// a rank that is its own peer sends to itself.
enum class Exchange : std::int32_t {
  AllReduce,
  AllGather,
  ReduceScatter,
  AllToAll,
  Broadcast,
  SendReceive
};
struct Collective {
  static constexpr Verb kVerb = Verb::Collective;
  Exchange what = Exchange::AllReduce;
  Type type = Type::Bf16;
  std::int64_t count = 0;
  const void* in = nullptr;
  void* out = nullptr;
  std::int32_t peer = 0;  // of Broadcast the root
};

// What the device says of itself, and of this moment. 0 and "" = it does not say.
struct DeviceInfo {
  char name[96];
  char driver[32];      // "580.159.04"
  char libraries[128];  // "cuda 13.0, cublasLt 13.0.2, nccl 2.28.9, cupti 13.0"
  char bus[32];
  std::int32_t devices;
  std::int32_t major, minor;  // compute capability
  std::int32_t multiprocessors;
  std::int64_t memory, memory_free, l2;  // bytes
  double clock_most, memory_clock_most;  // Hz
  double clock, memory_clock;            // Hz, now
  double power, power_limit;             // W
  double temperature;                    // degrees Celsius
  char throttled[128];  // why clocks are held down now: "power cap, thermal"; "" = they are not
};

// One run of an op under the clock.
struct Sample {
  double events;  // seconds between CUDA events before and behind it
  double span;    // from the start of its first kernel to the end of its last, by CUPTI; 0 without
  double busy;    // the sum of its kernels' times, by CUPTI
  std::int32_t kernels;
  char kernel[116];  // the name of the longest
};

// Runs op[0], op[1], …, op[variants - 1], op[0] … `warm` + `samples` times, the samples with the
// clock. Variants are one op on several inputs, so that none is found in the cache.
struct Timing {
  Verb verb = Verb::Copy;
  std::size_t op_bytes = 0;
  const void* const* ops = nullptr;
  std::int32_t variants = 0, warm = 0, samples = 0;
  bool cupti = false;  // else events only
  Sample* out = nullptr;
};

struct Context;
struct UniqueId {
  char bytes[128];
};

struct Api {
  std::int32_t version = kVersion;
  // The sentence why there is no device, or "": of a machine, before any context.
  Code (*probe)(char* problem, std::size_t size, std::int32_t* devices);
  Code (*open)(std::int32_t device, Context** out, char* problem, std::size_t size);
  void (*close)(Context*);
  const char* (*problem)(const Context*);
  Code (*info)(Context*, DeviceInfo*);
  Code (*allocate)(Context*, std::int64_t bytes, void** out);
  void (*release)(Context*, void*);
  Code (*allocate_host)(Context*, std::int64_t bytes, void** out);  // pinned
  void (*release_host)(Context*, void*);
  Code (*to_device)(Context*, void* to, const void* from, std::int64_t bytes);
  Code (*to_host)(Context*, void* to, const void* from, std::int64_t bytes);
  Code (*fill)(Context*, void* to, std::int32_t byte, std::int64_t bytes);
  // Numbers of `type` about 0 with deviation 0.5, from seed and place only.
  Code (*randomise)(Context*, void* to, Type type, std::int64_t count, std::uint64_t seed);
  Code (*wait)(Context*);  // until all is done that was started; what failed on the way
  Code (*run)(Context*, Verb verb, const void* op, std::size_t op_bytes);
  Code (*time)(Context*, const Timing*);
  Code (*unique_id)(Context*, UniqueId*);
  Code (*join)(Context*, std::int32_t ranks, std::int32_t rank, const UniqueId*);
};

}  // namespace narrows::gpu

// The module's one symbol.
extern "C" const narrows::gpu::Api* narrows_gpu_api();

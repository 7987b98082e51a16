// The border of gpu.so, the one module that knows CUDA. The program opens it at run time
// (runtime/gpu_module.h), so that it starts on machines without a driver; what crosses is plain
// data and one table of functions, and neither side links the other.
//
// An op is a struct of shapes and pointers to the device's memory, the twin of the struct of that
// name in kernels/; `run` starts it on the context's stream and returns before it is done. Matmuls
// are cuBLASLt's, all else is ours. Sums are f32 everywhere, whatever the operands are stored in.
//
// A verb returns Code::Ok or what refused it; `problem` then holds the sentence. Floors: a matmul
// is bound by 2 m n k over the chip's FLOP/s, an op without matmul by its bytes over the bandwidth
// of the memory; both stand beside each kernel.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace narrows::gpu {

// Raised whenever a struct below changes.
inline constexpr std::int32_t kVersion = 1;
inline constexpr const char* kEntry = "narrows_gpu_api";

enum class Code : std::int32_t { Ok, Unsupported, Invalid, Device };

// How numbers lie in memory.
enum class Type : std::int32_t { F32, Bf16 };

enum class Verb : std::int32_t {
  Matmul,
  ScaledMatmul,
  GroupedMatmul,
  Attention,
  AttentionGrad,
  Norm,
  NormGrad,
  SwiGlu,
  SwiGluGrad,
  Rotation,
  KeyAssembly,
  KeyAssemblyGrad,
  Router,
  RouterGrad,
  PickRows,
  SumRows,
  ScatterRows,
  Add,
  Cast,
  PartialSoftmax,
  LossGrad,
  AdamW,
  SumOfSquares,
  Quantise,
  Copy,
  Collective
};

// c = op(a) op(b) + beta c, row-major: kernels/matmul.h. f32 is multiplied in f32, not in TF32.
struct Matmul {
  static constexpr Verb kVerb = Verb::Matmul;
  Type type = Type::Bf16;  // of a and b
  Type out = Type::Bf16;   // of c
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  std::int64_t stride_a = 0;
  const void* b = nullptr;
  std::int64_t stride_b = 0;
  float beta = 0;
  void* c = nullptr;
  std::int64_t stride_c = 0;
};

// c(m, n) = a(m, k) b(n, k)^T in E4M3 with scales (deepseek2024 §3.3): a's a number each 1x128 of
// k, b's a number each 128x128 or, for weight gradients, each 1x128 too. Scales of 1x128 lie
// (k / 128, rows), of 128x128 (n / 128 rounded up, k / 128 rounded up to a multiple of 4): see
// Quantise. k and n are multiples of 16, m of 4. Hopper only (cuBLASLt 13.0).
struct ScaledMatmul {
  static constexpr Verb kVerb = Verb::ScaledMatmul;
  Type out = Type::Bf16;
  bool b_blocks = true;  // 128x128
  std::int64_t m = 0, n = 0, k = 0;
  const std::uint8_t* a = nullptr;
  const float* scale_a = nullptr;
  const std::uint8_t* b = nullptr;
  const float* scale_b = nullptr;
  float beta = 0;
  void* c = nullptr;
};

// The three matmuls of experts, one cuBLASLt matmul a group. `begin` is host memory, groups + 1:
// group e has the rows [begin[e], begin[e + 1]) of x and y.
//   Forward      y = x w_e^T        x (rows, k), w (groups, n, k), y (rows, n)
//   InputGrad    x = y w_e
//   WeightGrad   w_e = y^T x + beta w_e
enum class Pass : std::int32_t { Forward, InputGrad, WeightGrad };
struct GroupedMatmul {
  static constexpr Verb kVerb = Verb::GroupedMatmul;
  Pass pass = Pass::Forward;
  Type type = Type::Bf16;  // of what is read
  Type out = Type::Bf16;   // of what is written
  std::int64_t groups = 0, n = 0, k = 0;
  const std::int64_t* begin = nullptr;
  void* x = nullptr;
  void* w = nullptr;
  void* y = nullptr;
  float beta = 0;
};

// Heads side by side in rows of tokens; strides in elements, multiples of 8.
struct Heads {
  void* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
};

// kernels/attention.h in bf16, of head dims (64, 64), (128, 128) and MLA's (192, 128). `positions`
// (queries), ascending; null: query i stands at keys - queries + i.
struct Attention {
  static constexpr Verb kVerb = Verb::Attention;
  Heads q, k, v, out;
  float* log_sum_exp = nullptr;  // (batch queries, heads), written
  std::int64_t batch = 0, heads = 0, kv_heads = 0;
  std::int64_t queries = 0, keys = 0;
  std::int64_t qk_dim = 0, v_dim = 0;
  std::int64_t window = 0;  // 0: none
  const std::int32_t* positions = nullptr;
};

struct AttentionGrad {
  static constexpr Verb kVerb = Verb::AttentionGrad;
  Attention forward;  // out and log_sum_exp as forward left them
  Heads dout;
  Heads dq, dk, dv;           // written
  float* dq_sums = nullptr;   // scratch, (batch queries, heads, qk_dim)
  float* out_dots = nullptr;  // scratch, (batch queries, heads)
};

// kernels/norm.h; the weight is f32.
struct Norm {
  static constexpr Verb kVerb = Verb::Norm;
  Type type = Type::Bf16;
  const void* x = nullptr;
  const float* weight = nullptr;
  void* y = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0;
  float epsilon = 1e-6f;
};
// `partial` is scratch: (norm_parts(rows), columns).
struct NormGrad {
  static constexpr Verb kVerb = Verb::NormGrad;
  Norm forward;
  const void* dy = nullptr;
  const void* add = nullptr;
  void* dx = nullptr;
  float* inverse_rms = nullptr;
  float* partial = nullptr;
  float* dweight = nullptr;  // accumulated
};
constexpr std::int64_t norm_parts(std::int64_t rows) { return (rows + 127) / 128; }

// kernels/activation.h; the row's weight and its gradient are f32.
struct SwiGlu {
  static constexpr Verb kVerb = Verb::SwiGlu;
  Type type = Type::Bf16;
  const void* x = nullptr;
  const float* scale = nullptr;
  void* y = nullptr;
  std::int64_t rows = 0, columns = 0;
};
struct SwiGluGrad {
  static constexpr Verb kVerb = Verb::SwiGluGrad;
  SwiGlu forward;
  const void* dy = nullptr;
  void* dx = nullptr;
  float* dscale = nullptr;
};

// kernels/rope.h; cosine and sine are (positions, dim / 2) in f32.
struct Table {
  const float* cosine = nullptr;
  const float* sine = nullptr;
  std::int64_t dim = 0;
};
struct Rotation {
  static constexpr Verb kVerb = Verb::Rotation;
  Type type = Type::Bf16;
  void* x = nullptr;
  std::int64_t rows = 0, stride = 0, heads = 1, head_stride = 0;
  const std::int32_t* positions = nullptr;
  Table table;
  bool back = false;
};
struct KeyAssembly {
  static constexpr Verb kVerb = Verb::KeyAssembly;
  Type type = Type::Bf16;
  const void* kv = nullptr;
  const void* shared = nullptr;
  std::int64_t shared_stride = 0;
  void* key = nullptr;
  std::int64_t rows = 0, heads = 0, nope = 0, value = 0;
  const std::int32_t* positions = nullptr;
  Table table;
};
struct KeyAssemblyGrad {
  static constexpr Verb kVerb = Verb::KeyAssemblyGrad;
  KeyAssembly forward;
  const void* dkey = nullptr;
  void* dkv = nullptr;
  void* dshared = nullptr;
};

// kernels/router.h, in f32; at most 1024 experts, 64 groups and top_k 32. Equal scores: the lower
// expert.
struct Router {
  static constexpr Verb kVerb = Verb::Router;
  const float* logits = nullptr;
  const float* bias = nullptr;
  float* chosen = nullptr;
  std::int64_t rows = 0, experts = 0, top_k = 0, groups = 1, top_groups = 1;
  bool sigmoid = false;
  bool normalise = true;
  float scale = 1;
};
struct RouterGrad {
  static constexpr Verb kVerb = Verb::RouterGrad;
  Router forward;
  const float* dweights = nullptr;
  float* dlogits = nullptr;
};

// kernels/rows.h: how tokens are packed for dispatch, and summed up again behind combine.
struct PickRows {
  static constexpr Verb kVerb = Verb::PickRows;
  Type type = Type::Bf16;
  const void* from = nullptr;
  const std::int32_t* index = nullptr;
  void* to = nullptr;
  std::int64_t rows = 0, columns = 0;
  float scale = 1;
};
struct SumRows {
  static constexpr Verb kVerb = Verb::SumRows;
  Type type = Type::Bf16;
  const void* from = nullptr;
  const std::int32_t* begin = nullptr;
  const std::int32_t* slots = nullptr;
  void* to = nullptr;
  std::int64_t rows = 0, columns = 0;
  bool accumulate = false;
};
// Into f32, by atomic sums: their order, and so the last bits, differ from run to run.
struct ScatterRows {
  static constexpr Verb kVerb = Verb::ScatterRows;
  Type type = Type::Bf16;  // of `from`
  const void* from = nullptr;
  const std::int32_t* index = nullptr;
  float* to = nullptr;
  std::int64_t rows = 0, columns = 0;
};
struct Add {
  static constexpr Verb kVerb = Verb::Add;
  Type type = Type::Bf16;
  const void* a = nullptr;
  const void* b = nullptr;
  void* to = nullptr;
  std::int64_t count = 0;
};
struct Cast {
  static constexpr Verb kVerb = Verb::Cast;
  Type type = Type::F32;  // of `from`
  Type out = Type::Bf16;  // of `to`
  const void* from = nullptr;
  void* to = nullptr;
  std::int64_t count = 0;
};

// kernels/loss.h. `parts` are (rows) of maximum, sum, target's logit.
struct PartialSoftmax {
  static constexpr Verb kVerb = Verb::PartialSoftmax;
  Type type = Type::Bf16;
  const void* logits = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0, first = 0;
  const std::int32_t* targets = nullptr;
  float* parts = nullptr;
};
// The logits become their gradient.
struct LossGrad {
  static constexpr Verb kVerb = Verb::LossGrad;
  Type type = Type::Bf16;
  void* logits = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0, first = 0;
  const std::int32_t* targets = nullptr;
  const float* parts = nullptr;
  float scale = 1;
};

// kernels/adamw.h; `copy`, where not null, receives the new weights in bf16. State may be bf16.
struct AdamW {
  static constexpr Verb kVerb = Verb::AdamW;
  float* weight = nullptr;
  const float* gradient = nullptr;
  Type state = Type::F32;
  void* first_moment = nullptr;
  void* second_moment = nullptr;
  std::uint16_t* copy = nullptr;
  std::int64_t count = 0;
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, decay = 0;
  double gradient_scale = 1;
  std::int64_t step = 1;
};
// *sum = the sum of squares; `partial` is scratch: kSumParts doubles.
inline constexpr int kSumParts = 1024;
struct SumOfSquares {
  static constexpr Verb kVerb = Verb::SumOfSquares;
  Type type = Type::F32;
  const void* x = nullptr;
  std::int64_t count = 0;
  double* partial = nullptr;
  double* sum = nullptr;
};

// x (rows, columns) in E4M3 with a scale each 1x128 of a row, each 128x1 of a column, or each
// 128x128: values / scale is stored, scale = maximum / 448, 1 where all are 0.
//   Rows     to (rows, columns), scales (columns / 128 rounded up, rows)
//   Columns  to (columns, rows), transposed, scales (rows / 128 rounded up, columns)
//   Blocks   to (rows, columns), scales (rows / 128 rounded up, columns / 128 rounded up to 4)
//   BlocksTransposed  to (columns, rows), scales as Blocks of the transposed
// Scales that stand for nothing are written as 1.
enum class Tiles : std::int32_t { Rows, Columns, Blocks, BlocksTransposed };
struct Quantise {
  static constexpr Verb kVerb = Verb::Quantise;
  Type type = Type::Bf16;
  Tiles tiles = Tiles::Rows;
  const void* x = nullptr;
  std::int64_t rows = 0, columns = 0;
  std::uint8_t* to = nullptr;
  float* scales = nullptr;
};
constexpr std::int64_t tiles_of(std::int64_t extent) { return (extent + 127) / 128; }
constexpr std::int64_t block_scale_stride(std::int64_t columns) {
  return (tiles_of(columns) + 3) / 4 * 4;
}

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

// Attention's backward pass (formulas: kernels/attention.h; order of work: dao2023). A block takes
// 64 keys of a head of keys, keeps the sums of their gradients in registers, and walks all queries
// that see them, 64 at a time, of every head that shares them: so dk and dv are written once, in a
// fixed order. dq is summed in f32 by atomic sums over the blocks: its last bits differ from run to
// run.
//
// Floor: 5 matmuls where forward has 2: 2 batch heads pairs (3 qk_dim + 2 v_dim) FLOPs. Bytes
// beside those of the tensors: dq's sums, 4 a number, written, added to once for 64 keys, and read.
// Shared memory of (192, 128): 137 KiB.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_tiles.cuh"

namespace narrows::gpu {
namespace {

constexpr int kQueries = 64;
constexpr int kKeys = 64;

template <int kQk, int kV>
constexpr int kSharedBytes = 2 * (kKeys * (kQk + kV) + 2 * kQueries * (kQk + kV) +
                                  2 * kQueries * kKeys);

struct Scaled {
  AttentionGrad op;
  float scale;
};

// A warp a query and head: out_dots = dout . out, and dq's sums begin at 0.
template <int kQk, int kV>
__global__ void prepare_kernel(const Scaled work) {
  const Attention& f = work.op.forward;
  const int lane = thread() % 32;
  const std::int64_t index = static_cast<std::int64_t>(block_x()) * 8 + thread() / 32;
  if (index >= f.batch * f.queries * f.heads) return;
  const std::int64_t row = index / f.heads, head = index % f.heads;
  constexpr int kWidth = kV / 32;
  float a[kWidth], b[kWidth];
  load<kWidth>(rows_of(f.out, row, head) + lane * kWidth, a);
  load<kWidth>(rows_of(work.op.dout, row, head) + lane * kWidth, b);
  float sum = 0;
  for (int i = 0; i < kWidth; ++i) sum += a[i] * b[i];
  for (int way = 16; way > 0; way /= 2) sum += from_lane_xor(sum, way);
  if (lane == 0) work.op.out_dots[index] = sum;
  for (int c = lane; c < kQk; c += 32) work.op.dq_sums[index * kQk + c] = 0;
}

template <int kQk>
__global__ void finish_kernel(const Scaled work) {
  const Attention& f = work.op.forward;
  const int lane = thread() % 32;
  const std::int64_t index = static_cast<std::int64_t>(block_x()) * 8 + thread() / 32;
  if (index >= f.batch * f.queries * f.heads) return;
  Bf16* dq = rows_of(work.op.dq, index / f.heads, index % f.heads);
  float v[2];
  for (int c = 2 * lane; c < kQk; c += 64) {
    load<2>(work.op.dq_sums + index * kQk + c, v);
    v[0] *= work.scale;
    v[1] *= work.scale;
    store<2>(dq + c, v);
  }
}

// The tiles of queries that a block of keys walks, head by head.
struct Walk {
  int tiles, total;
  int first_key, last_key;
};
__device__ __forceinline__ bool meets(const Attention& f, const Walk& w, int tile) {
  const int first = tile * kQueries;
  const int last =
      first + kQueries < f.queries ? first + kQueries - 1 : static_cast<int>(f.queries) - 1;
  if (position_of(f, last) < w.first_key) return false;
  return f.window == 0 || w.last_key > position_of(f, first) - f.window;
}
__device__ __forceinline__ int next_of(const Attention& f, const Walk& w, int step) {
  do {
    ++step;
  } while (step < w.total && !meets(f, w, step % w.tiles));
  return step;
}

// Where the queries of a step begin.
struct Queries {
  int first, rows, head;
  std::int64_t row;
};
__device__ __forceinline__ Queries queries_of(const Attention& f, const Walk& w, int step) {
  Queries q;
  q.first = step % w.tiles * kQueries;
  const int left = static_cast<int>(f.queries) - q.first;
  q.rows = left < kQueries ? left : kQueries;
  q.head = static_cast<int>(block_y() * (f.heads / f.kv_heads)) + step / w.tiles;
  q.row = block_z() * f.queries + q.first;
  return q;
}

// s (16 queries, 32 keys of this warp) = a's tile b's tile^T.
template <int kDim>
__device__ __forceinline__ void product_of(const Bf16* a_tile, const Bf16* b_tile, int row,
                                           int column, float (&s)[4][4]) {
  for (int n = 0; n < 4; ++n) {
    for (int i = 0; i < 4; ++i) s[n][i] = 0;
  }
// Four steps have four places of chunks within a row; more would only keep more addresses in
// registers.
#pragma unroll 4
  for (int step = 0; step < kDim / 16; ++step) {
    std::uint32_t a[4], b[4];
    load_a<kDim>(a, a_tile, row, 2 * step);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      load_b<kDim>(b, b_tile, column + 16 * n, 2 * step);
      multiply_pair(s[2 * n], s[2 * n + 1], a, b);
    }
  }
}

// sum (16 keys, half of kDim columns) += a's tile (queries, keys)^T rows (queries, kDim).
template <int kDim>
__device__ __forceinline__ void add_keys_product(const Bf16* a_tile, const Bf16* rows, int key,
                                                 int half, float (&sum)[kDim / 16][4]) {
#pragma unroll
  for (int step = 0; step < kQueries / 16; ++step) {
    std::uint32_t a[4], b[4];
    load_a_transposed<kKeys>(a, a_tile, 16 * step, key / 8);
#pragma unroll
    for (int n = 0; n < kDim / 32; ++n) {
      load_b_transposed<kDim>(b, rows, 16 * step, half * (kDim / 16) + 2 * n);
      multiply_pair(sum[2 * n], sum[2 * n + 1], a, b);
    }
  }
}

// dq's sums of 16 queries and half the columns += ds (queries, keys) keys (keys, kQk).
template <int kQk>
__device__ __forceinline__ void add_query_grads(const AttentionGrad& op, const Queries& q,
                                                const Bf16* ds, const Bf16* k, int row, int half) {
  float sum[kQk / 16][4] = {};
#pragma unroll
  for (int step = 0; step < kKeys / 16; ++step) {
    std::uint32_t a[4], b[4];
    load_a<kKeys>(a, ds, row, 2 * step);
#pragma unroll
    for (int n = 0; n < kQk / 32; ++n) {
      load_b_transposed<kQk>(b, k, 16 * step, half * (kQk / 16) + 2 * n);
      multiply_pair(sum[2 * n], sum[2 * n + 1], a, b);
    }
  }
  const int g = thread() % 32 / 4, t = thread() % 4;
  for (int h = 0; h < 2; ++h) {
    const int mine = row + g + 8 * h;
    if (mine >= q.rows) continue;
    float* to = op.dq_sums + ((q.row + mine) * op.forward.heads + q.head) * kQk + half * (kQk / 2);
#pragma unroll
    for (int n = 0; n < kQk / 16; ++n) {
      add_atomically(to + 8 * n + 2 * t, sum[n][2 * h]);
      add_atomically(to + 8 * n + 2 * t + 1, sum[n][2 * h + 1]);
    }
  }
}

// Scores and dP become P and dS, which go to shared memory as bf16.
__device__ __forceinline__ void soften(const AttentionGrad& op, const Walk& w, const Queries& q,
                                       float scale, int row, int column, float (&s)[4][4],
                                       float (&ds)[4][4], Bf16* p_tile, Bf16* ds_tile) {
  const Attention& f = op.forward;
  const int g = thread() % 32 / 4, t = thread() % 4;
  for (int h = 0; h < 2; ++h) {
    const int mine = row + g + 8 * h;
    const bool exists = mine < q.rows;
    const std::int64_t at = exists ? (q.row + mine) * f.heads + q.head : 0;
    const float base = exists ? f.log_sum_exp[at] * kLog2E : 0.0f;
    const float dots = exists ? op.out_dots[at] : 0.0f;
    const int position = exists ? position_of(f, q.first + mine) : -1;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      for (int i = 2 * h; i < 2 * h + 2; ++i) {
        const int key = w.first_key + column + 8 * n + 2 * t + i % 2;
        s[n][i] = sees(f, position, key) ? exp2_of(s[n][i] * scale * kLog2E - base) : 0.0f;
        ds[n][i] = s[n][i] * (ds[n][i] - dots);
      }
    }
  }
  store_product<kKeys>(p_tile, row, column, s, 1.0f, 1.0f);
  store_product<kKeys>(ds_tile, row, column, ds, 1.0f, 1.0f);
}

template <int kQk, int kV>
__device__ __forceinline__ void load_queries(const AttentionGrad& op, const Queries& at, Bf16* q,
                                             Bf16* dout) {
  const Attention& f = op.forward;
  load_tile<kQueries, kQk>(q, rows_of(f.q, at.row, at.head), f.q.row_stride, at.rows);
  load_tile<kQueries, kV>(dout, rows_of(op.dout, at.row, at.head), op.dout.row_stride, at.rows);
}

template <int kQk, int kV>
__global__ void __launch_bounds__(256, 1) attention_grad_kernel(const Scaled work) {
  const AttentionGrad& op = work.op;
  const Attention& f = op.forward;
  Bf16* k = shared<Bf16>();
  Bf16* v = k + kKeys * kQk;
  Bf16* q = v + kKeys * kV;             // twice
  Bf16* dout = q + 2 * kQueries * kQk;  // twice
  Bf16* p = dout + 2 * kQueries * kV;
  Bf16* ds = p + kQueries * kKeys;
  const int row = thread() / 32 % 4 * 16, half = thread() / 128;
  Walk w;
  w.tiles = static_cast<int>((f.queries + kQueries - 1) / kQueries);
  w.total = w.tiles * static_cast<int>(f.heads / f.kv_heads);
  w.first_key = block_x() * kKeys;
  const int left = static_cast<int>(f.keys) - w.first_key;
  const int keys = left < kKeys ? left : kKeys;
  w.last_key = w.first_key + keys - 1;
  const std::int64_t key_row = block_z() * f.keys + w.first_key;
  load_tile<kKeys, kQk>(k, rows_of(f.k, key_row, block_y()), f.k.row_stride, keys);
  load_tile<kKeys, kV>(v, rows_of(f.v, key_row, block_y()), f.v.row_stride, keys);
  float dk_sum[kQk / 16][4] = {};
  float dv_sum[kV / 16][4] = {};
  int step = next_of(f, w, -1);
  if (step < w.total) load_queries<kQk, kV>(op, queries_of(f, w, step), q, dout);
  commit_copies();
  for (int now = 0; step < w.total; now = 1 - now) {
    const int after = next_of(f, w, step);
    if (after < w.total) {
      load_queries<kQk, kV>(op, queries_of(f, w, after), q + (1 - now) * kQueries * kQk,
                            dout + (1 - now) * kQueries * kV);
    }
    commit_copies();
    await_copies<1>();
    barrier();
    const Queries at = queries_of(f, w, step);
    const Bf16* q_now = q + now * kQueries * kQk;
    const Bf16* dout_now = dout + now * kQueries * kV;
    float s[4][4], dp[4][4];
    product_of<kQk>(q_now, k, row, 32 * half, s);
    product_of<kV>(dout_now, v, row, 32 * half, dp);
    soften(op, w, at, work.scale, row, 32 * half, s, dp, p, ds);
    barrier();
    add_keys_product<kV>(p, dout_now, row, half, dv_sum);
    add_keys_product<kQk>(ds, q_now, row, half, dk_sum);
    add_query_grads<kQk>(op, at, ds, k, row, half);
    barrier();
    step = after;
  }
  await_copies<0>();
  barrier();
  store_product<kQk>(k, row, half * (kQk / 2), dk_sum, work.scale, work.scale);
  store_product<kV>(v, row, half * (kV / 2), dv_sum, 1.0f, 1.0f);
  barrier();
  write_rows<kQk>(k, 0, keys, rows_of(op.dk, key_row, block_y()), op.dk.row_stride, thread(),
                  threads());
  write_rows<kV>(v, 0, keys, rows_of(op.dv, key_row, block_y()), op.dv.row_stride, thread(),
                 threads());
}

template <int kQk, int kV>
Code start_grad(Context& context, const Scaled& work) {
  const Attention& f = work.op.forward;
  const Launch rows{.x = static_cast<int>((f.batch * f.queries * f.heads + 7) / 8)};
  const Launch tiles{.x = static_cast<int>((f.keys + kKeys - 1) / kKeys),
                     .y = static_cast<int>(f.kv_heads),
                     .z = static_cast<int>(f.batch),
                     .shared_bytes = kSharedBytes<kQk, kV>};
  const char* name = "attention gradient";
  Code code = start(context, name, prepare_kernel<kQk, kV>, rows, work);
  if (code == Code::Ok) code = start(context, name, attention_grad_kernel<kQk, kV>, tiles, work);
  if (code == Code::Ok) code = start(context, name, finish_kernel<kQk>, rows, work);
  return code;
}

}  // namespace

Code run(Context& context, const AttentionGrad& op) {
  Attention both = op.forward;
  Code fits = check_attention(context, both);
  if (fits != Code::Ok) return fits;
  both.q = op.dq;
  both.k = op.dk;
  both.v = op.dv;
  both.out = op.dout;
  fits = check_attention(context, both);
  if (fits != Code::Ok) return fits;
  return by_dims(op.forward, [&](auto dims) {
    using D = decltype(dims);
    return start_grad<D::kQkDim, D::kVDim>(context, {op, scale_of(op.forward)});
  });
}

}  // namespace narrows::gpu

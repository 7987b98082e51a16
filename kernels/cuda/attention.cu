// Causal attention on tensor cores, forward: dao2023's order of work with mma.sync, for any chip
// from sm_80 on. A block takes 128 queries of a head, 16 a warp, and walks the keys they see, 64 at
// a time, the next tile on its way while this one is multiplied. Scores, maxima and sums stay in
// registers in f32; probabilities are multiplied in bf16. Blocks with the longest walks start
// first.
//
// Floor: 2 batch heads pairs (qk_dim + v_dim) FLOPs, where pairs = queries (keys + 1) / 2 if all
// keys up to a query's position are seen; bytes: q, k, v and out once, 2 each, and 4 a row and
// head. Shared memory: q 256 qk_dim, k and v twice 128 qk_dim and 128 v_dim bytes: 128 KiB of (192,
// 128).
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_tiles.cuh"

namespace narrows::gpu {
namespace {

constexpr int kQueries = 128;
constexpr int kKeys = 64;

template <int kQk, int kV>
constexpr int kSharedBytes = 2 * (kQueries * kQk + 2 * kKeys * (kQk + kV));

// What a block works on.
struct Block {
  int first, rows;            // queries
  std::int64_t row, key_row;  // of the first query, of key 0, in the tensors
  int head, kv_head;
  int begin, end;       // tiles of keys
  int lowest, highest;  // positions of the first and the last query
};

__device__ __forceinline__ Block block_of(const Attention& op) {
  Block b;
  b.first = (blocks_x() - 1 - block_x()) * kQueries;
  const int left = static_cast<int>(op.queries) - b.first;
  b.rows = left < kQueries ? left : kQueries;
  b.head = block_y();
  b.kv_head = static_cast<int>(b.head / (op.heads / op.kv_heads));
  b.row = block_z() * op.queries + b.first;
  b.key_row = block_z() * op.keys;
  b.lowest = position_of(op, b.first);
  b.highest = position_of(op, b.first + b.rows - 1);
  b.end = b.highest / kKeys + 1;
  const int from = b.lowest + 1 - static_cast<int>(op.window);
  b.begin = op.window == 0 || from < 0 ? 0 : from / kKeys;
  return b;
}

template <int kQk, int kV>
__device__ __forceinline__ void load_keys(const Attention& op, const Block& b, int tile, Bf16* k,
                                          Bf16* v) {
  const int first = tile * kKeys;
  const int left = static_cast<int>(op.keys) - first;
  load_tile<kKeys, kQk>(k, rows_of(op.k, b.key_row + first, b.kv_head), op.k.row_stride, left);
  load_tile<kKeys, kV>(v, rows_of(op.v, b.key_row + first, b.kv_head), op.v.row_stride, left);
}

// Scores of 16 queries and 64 keys.
template <int kQk>
__device__ __forceinline__ void scores_of(const Bf16* q, const Bf16* k, int row, float (&s)[8][4]) {
  for (int n = 0; n < 8; ++n) {
    for (int i = 0; i < 4; ++i) s[n][i] = 0;
  }
#pragma unroll
  for (int step = 0; step < kQk / 16; ++step) {
    std::uint32_t a[4], b[4];
    load_a<kQk>(a, q, row, 2 * step);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      load_b<kQk>(b, k, 16 * n, 2 * step);
      multiply_pair(s[2 * n], s[2 * n + 1], a, b);
    }
  }
}

__device__ __forceinline__ void mask(const Attention& op, int first_key, const int (&position)[2],
                                     float (&s)[8][4]) {
  const int t = thread() % 4;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = first_key + 8 * n + 2 * t + i % 2;
      if (!sees(op, position[i / 2], key)) s[n][i] = as_float(0xff800000u);
    }
  }
}

// The running softmax of two rows (milakov2018): scores become probabilities times 2^(c maximum),
// what has been summed so far is scaled to the new maximum.
template <int kTiles>
struct Softmax {
  float most[2] = {as_float(0xff800000u), as_float(0xff800000u)};
  float sum[2] = {0, 0};  // of this thread's columns

  __device__ __forceinline__ void take(float (&s)[8][4], float (&out)[kTiles][4], float c) {
    for (int h = 0; h < 2; ++h) {
      float higher = most[h];
#pragma unroll
      for (int n = 0; n < 8; ++n) higher = fmaxf(higher, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
      higher = fmaxf(higher, from_lane_xor(higher, 1));
      higher = fmaxf(higher, from_lane_xor(higher, 2));
      // A row that has seen no key yet subtracts 0 from minus infinity.
      const float base = higher == as_float(0xff800000u) ? 0.0f : higher * c;
      const float shrink = exp2_of(most[h] * c - base);
      most[h] = higher;
      float fresh = 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        for (int i = 2 * h; i < 2 * h + 2; ++i) {
          s[n][i] = exp2_of(s[n][i] * c - base);
          fresh += s[n][i];
        }
      }
      sum[h] = sum[h] * shrink + fresh;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        out[n][2 * h] *= shrink;
        out[n][2 * h + 1] *= shrink;
      }
    }
  }
};

// out += probabilities (16, 64) values (64, kV): a product's registers are the next one's operand.
template <int kV>
__device__ __forceinline__ void add_values(const float (&p)[8][4], const Bf16* v,
                                           float (&out)[kV / 8][4]) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const float(&left)[4] = p[2 * step];
    const float(&right)[4] = p[2 * step + 1];
    const std::uint32_t a[4] = {pack_bf16(left[0], left[1]), pack_bf16(left[2], left[3]),
                                pack_bf16(right[0], right[1]), pack_bf16(right[2], right[3])};
#pragma unroll
    for (int n = 0; n < kV / 16; ++n) {
      std::uint32_t b[4];
      load_b_transposed<kV>(b, v, 16 * step, 2 * n);
      multiply_pair(out[2 * n], out[2 * n + 1], a, b);
    }
  }
}

// A warp's 16 rows to memory, by way of its rows of the tile of queries, which it alone reads.
template <int kQk, int kV>
__device__ __forceinline__ void finish(const Attention& op, const Block& b, Bf16* q,
                                       Softmax<kV / 8>& softmax, const float (&out)[kV / 8][4],
                                       float scale) {
  const int lane = thread() % 32, row = thread() / 32 * 16;
  float inverse[2];
  for (int h = 0; h < 2; ++h) {
    float sum = softmax.sum[h];
    sum += from_lane_xor(sum, 1);
    sum += from_lane_xor(sum, 2);
    inverse[h] = sum == 0 ? 0.0f : 1.0f / sum;
    const int mine = row + lane / 4 + 8 * h;
    if (lane % 4 == 0 && mine < b.rows) {
      op.log_sum_exp[(b.row + mine) * op.heads + b.head] = softmax.most[h] * scale + log_fully(sum);
    }
  }
  Bf16* staged = q + row * kQk;
  warp_barrier();
  store_product<kV>(staged, 0, 0, out, inverse[0], inverse[1]);
  warp_barrier();
  const int rows = b.rows - row < 16 ? b.rows - row : 16;
  write_rows<kV>(staged, 0, rows, rows_of(op.out, b.row + row, b.head), op.out.row_stride, lane,
                 32);
}

template <int kQk, int kV>
__global__ void __launch_bounds__(256, 1) attention_kernel(const Attention op, const float scale) {
  Bf16* q = shared<Bf16>();
  Bf16* k = q + kQueries * kQk;   // twice
  Bf16* v = k + 2 * kKeys * kQk;  // twice
  const Block b = block_of(op);
  const int warp_row = thread() / 32 * 16;
  int position[2];
  for (int h = 0; h < 2; ++h) {
    const int mine = warp_row + thread() % 32 / 4 + 8 * h;
    position[h] = mine < b.rows ? position_of(op, b.first + mine) : -1;
  }
  float out[kV / 8][4] = {};
  Softmax<kV / 8> softmax;
  load_tile<kQueries, kQk>(q, rows_of(op.q, b.row, b.head), op.q.row_stride, b.rows);
  load_keys<kQk, kV>(op, b, b.begin, k, v);
  commit_copies();
  for (int tile = b.begin; tile < b.end; ++tile) {
    const int now = (tile - b.begin) % 2, next = 1 - now;
    if (tile + 1 < b.end) {
      load_keys<kQk, kV>(op, b, tile + 1, k + next * kKeys * kQk, v + next * kKeys * kV);
    }
    commit_copies();
    await_copies<1>();
    barrier();
    float s[8][4];
    scores_of<kQk>(q, k + now * kKeys * kQk, warp_row, s);
    const int first_key = tile * kKeys;
    const bool all_seen =
        first_key + kKeys - 1 <= b.lowest && (op.window == 0 || first_key > b.highest - op.window);
    if (!all_seen) mask(op, first_key, position, s);
    softmax.take(s, out, scale * kLog2E);
    add_values<kV>(s, v + now * kKeys * kV, out);
    barrier();
  }
  finish<kQk, kV>(op, b, q, softmax, out, scale);
}

bool strides_fit(const Heads& heads) {
  return heads.row_stride % 8 == 0 && heads.head_stride % 8 == 0 && aligned(16, heads.data);
}

template <int kQk, int kV>
Code start_attention(Context& context, const Attention& op) {
  const Launch how{.x = static_cast<int>((op.queries + kQueries - 1) / kQueries),
                   .y = static_cast<int>(op.heads),
                   .z = static_cast<int>(op.batch),
                   .shared_bytes = kSharedBytes<kQk, kV>};
  return start(context, "attention", attention_kernel<kQk, kV>, how, op, scale_of(op));
}

}  // namespace

Code check_attention(Context& context, const Attention& op) {
  const bool dims = (op.qk_dim == 64 && op.v_dim == 64) || (op.qk_dim == 128 && op.v_dim == 128) ||
                    (op.qk_dim == 192 && op.v_dim == 128);
  if (!dims) {
    return refuse(context, Code::Unsupported,
                  "attention: head dims (%lld, %lld), expected (64, 64), (128, 128) or (192, 128)",
                  static_cast<long long>(op.qk_dim), static_cast<long long>(op.v_dim));
  }
  if (op.kv_heads < 1 || op.heads % op.kv_heads != 0) {
    return refuse(context, Code::Invalid, "attention: %lld heads over %lld of keys and values",
                  static_cast<long long>(op.heads), static_cast<long long>(op.kv_heads));
  }
  if (!strides_fit(op.q) || !strides_fit(op.k) || !strides_fit(op.v) || !strides_fit(op.out)) {
    return refuse(context, Code::Unsupported,
                  "attention: rows and heads must begin at multiples of 16 bytes");
  }
  return Code::Ok;
}

Code run(Context& context, const Attention& op) {
  const Code fits = check_attention(context, op);
  if (fits != Code::Ok) return fits;
  return by_dims(op, [&](auto dims) {
    using D = decltype(dims);
    return start_attention<D::kQkDim, D::kVDim>(context, op);
  });
}

}  // namespace narrows::gpu

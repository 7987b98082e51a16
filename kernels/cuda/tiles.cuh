// Tiles of bf16 in shared memory, and the fragments that tensor cores take from them: what
// attention and our matmuls share.
//
// A tile holds rows of kDim bf16, 8 elements (16 bytes) a chunk. Chunk c of row r stands where
// chunk c xor (r mod 8) would: so 8 rows of one chunk, which is what a matrix load reads, lie in 8
// different groups of banks. kDim is a multiple of 64, so that the xor stays within the row. Two
// E4M3 numbers may stand for one of bf16: a matrix load moves pairs of bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {

template <int kDim>
__host__ __device__ constexpr int chunk_place(int row, int chunk) {
  static_assert(kDim % 64 == 0, "a row is whole groups of eight chunks");
  return row * kDim + (chunk ^ (row & 7)) * 8;
}

// Starts copying `kRows` rows, of which the first `rows` exist, and of those the first `columns`
// elements, whole chunks; the others become zeros.
template <int kRows, int kDim>
__device__ __forceinline__ void load_tile(Bf16* tile, const Bf16* from, std::int64_t stride,
                                          int rows, int columns = kDim) {
  constexpr int kChunks = kDim / 8;
  for (int i = thread(); i < kRows * kChunks; i += threads()) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool valid = row < rows && 8 * chunk < columns;
    const Bf16* source = valid ? from + row * stride + chunk * 8 : from;
    copy_async(tile + chunk_place<kDim>(row, chunk), source, valid);
  }
}

// a of rows `row` to row + 15 and the 16 columns from chunk `chunk` on: of the tile as it is.
template <int kDim>
__device__ __forceinline__ void load_a(std::uint32_t (&a)[4], const Bf16* tile, int row,
                                       int chunk) {
  const int lane = thread() % 32;
  load_matrices(a, tile + chunk_place<kDim>(row + lane % 16, chunk + lane / 16));
}
// a of the tile transposed: its rows are the tile's columns from chunk `chunk` on, its 16 columns
// the tile's rows from `row` on.
template <int kDim>
__device__ __forceinline__ void load_a_transposed(std::uint32_t (&a)[4], const Bf16* tile, int row,
                                                  int chunk) {
  const int lane = thread() % 32;
  load_transposed(a,
                  tile + chunk_place<kDim>(row + lane % 8 + lane / 16 * 8, chunk + lane / 8 % 2));
}
// b of 16 columns, b[0..1] of the first 8 and b[2..3] of the others: a tile whose rows are b's
// columns.
template <int kDim>
__device__ __forceinline__ void load_b(std::uint32_t (&b)[4], const Bf16* tile, int row,
                                       int chunk) {
  const int lane = thread() % 32;
  load_matrices(b, tile + chunk_place<kDim>(row + lane % 8 + lane / 16 * 8, chunk + lane / 8 % 2));
}
// The same of a tile whose rows are b's rows.
template <int kDim>
__device__ __forceinline__ void load_b_transposed(std::uint32_t (&b)[4], const Bf16* tile, int row,
                                                  int chunk) {
  const int lane = thread() % 32;
  load_transposed(b, tile + chunk_place<kDim>(row + lane % 16, chunk + lane / 16));
}

// d (16, 8 kTiles) += a b for two neighbouring tiles of 8 columns.
__device__ __forceinline__ void multiply_pair(float (&left)[4], float (&right)[4],
                                              const std::uint32_t (&a)[4],
                                              const std::uint32_t (&b)[4]) {
  multiply(left, a, b[0], b[1]);
  multiply(right, a, b[2], b[3]);
}

// Two neighbouring values of a product to their places in a tile; `column` is even.
template <int kDim>
__device__ __forceinline__ void store_pair(Bf16* tile, int row, int column, float low, float high) {
  Bf16* place = tile + chunk_place<kDim>(row, column / 8) + column % 8;
  *reinterpret_cast<std::uint32_t*>(place) = pack_bf16(low, high);
}
// A product of 16 rows, scaled by row, as bf16 into a tile.
template <int kDim, int kTiles>
__device__ __forceinline__ void store_product(Bf16* tile, int row, int column,
                                              const float (&d)[kTiles][4], float first,
                                              float second) {
  const int g = thread() % 32 / 4, t = thread() % 4;
  for (int n = 0; n < kTiles; ++n) {
    store_pair<kDim>(tile, row + g, column + 8 * n + 2 * t, d[n][0] * first, d[n][1] * first);
    store_pair<kDim>(tile, row + g + 8, column + 8 * n + 2 * t, d[n][2] * second, d[n][3] * second);
  }
}
// `rows` rows of a tile to memory, 16 bytes at a time, by `count` threads of which this is `index`.
template <int kDim>
__device__ __forceinline__ void write_rows(const Bf16* tile, int first, int rows, Bf16* to,
                                           std::int64_t stride, int index, int count) {
  constexpr int kChunks = kDim / 8;
  for (int i = index; i < rows * kChunks; i += count) {
    const int row = i / kChunks, chunk = i % kChunks;
    *reinterpret_cast<Vector<Bf16, 8>*>(to + row * stride + chunk * 8) =
        *reinterpret_cast<const Vector<Bf16, 8>*>(tile + chunk_place<kDim>(first + row, chunk));
  }
}

}  // namespace narrows::gpu

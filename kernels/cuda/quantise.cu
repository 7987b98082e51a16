// E4M3 with a scale each 128 elements of a row or column, or each 128x128 (deepseek2024 §3.3);
// where the scales lie: gpu.h. Division is exact, so that scales and bytes equal a plain loop's.
//
// Floor, bytes an element stored in t: t + 1 (the scales add 1/32 or less).
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {
namespace {

constexpr int kTile = 128;

__device__ __forceinline__ float scale_of(float most) {
  return most == 0.0f ? 1.0f : most / 448.0f;
}

__device__ __forceinline__ std::int64_t scale_stride(const Quantise& op, bool transposed) {
  return block_scale_stride(transposed ? op.rows : op.columns);
}

// A warp takes 128 elements of a row, a lane kWidth times 4 / kWidth of them.
template <typename T, int kWidth>
__global__ void rows_kernel(const Quantise op) {
  const int lane = thread() % 32;
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * 8 + thread() / 32;
  if (row >= op.rows) return;
  const std::int64_t first = static_cast<std::int64_t>(block_y()) * kTile;
  const T* x = static_cast<const T*>(op.x) + row * op.columns;
  float v[4] = {};
  float most = 0;
  for (int i = 0; i < 4 / kWidth; ++i) {
    const std::int64_t c = first + (i * 32 + lane) * kWidth;
    float part[kWidth] = {};
    if (c < op.columns) load<kWidth>(x + c, part);
    for (int j = 0; j < kWidth; ++j) {
      v[i * kWidth + j] = part[j];
      most = fmaxf(most, fabsf(part[j]));
    }
  }
  for (int mask = 16; mask > 0; mask /= 2) most = fmaxf(most, from_lane_xor(most, mask));
  const float scale = scale_of(most);
  if (lane == 0) op.scales[block_y() * op.rows + row] = scale;
  for (int i = 0; i < 4 / kWidth; ++i) {
    const std::int64_t c = first + (i * 32 + lane) * kWidth;
    if (c >= op.columns) break;
    Vector<std::uint8_t, kWidth> bytes;
    for (int j = 0; j < kWidth; ++j) bytes.at[j] = to_e4m3(v[i * kWidth + j] / scale);
    *reinterpret_cast<Vector<std::uint8_t, kWidth>*>(op.to + row * op.columns + c) = bytes;
  }
}

// Bytes of a tile in shared memory, `kStride` apart, to `rows` rows of `to`.
template <int kStride>
__device__ __forceinline__ void write_tile(const std::uint8_t* tile, std::uint8_t* to,
                                           std::int64_t to_stride, int rows, int columns) {
  if (to_stride % 4 == 0 && columns % 4 == 0) {
    for (int i = thread(); i < rows * (columns / 4); i += threads()) {
      const int r = i / (columns / 4), c = i % (columns / 4) * 4;
      *reinterpret_cast<std::uint32_t*>(to + r * to_stride + c) =
          *reinterpret_cast<const std::uint32_t*>(tile + r * kStride + c);
    }
    return;
  }
  for (int i = thread(); i < rows * columns; i += threads()) {
    to[i / columns * to_stride + i % columns] = tile[i / columns * kStride + i % columns];
  }
}

__device__ __forceinline__ int extent(std::int64_t first, std::int64_t end, int most) {
  return static_cast<int>(end - first < most ? end - first : most);
}

// A block of 256 takes 128 rows of 64 columns: through shared memory, since what is read along rows
// is scaled and written along columns.
constexpr int kStrip = 64;
template <typename T>
__global__ void columns_kernel(const Quantise op) {
  constexpr int kStride = kTile + 4;
  float* values = shared<float>();                                                      // (128, 65)
  float* most = shared<float>(4 * kTile * (kStrip + 1));                                // (4, 64)
  std::uint8_t* bytes = shared<std::uint8_t>(4 * (kTile * (kStrip + 1) + 4 * kStrip));  // (64, 132)
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kTile;
  const std::int64_t column = static_cast<std::int64_t>(block_y()) * kStrip;
  const int rows = extent(row, op.rows, kTile), columns = extent(column, op.columns, kStrip);
  const T* x = static_cast<const T*>(op.x) + row * op.columns + column;
  for (int i = thread(); i < kTile * kStrip; i += threads()) {
    const int r = i / kStrip, c = i % kStrip;
    values[r * (kStrip + 1) + c] = r < rows && c < columns ? to_float(x[r * op.columns + c]) : 0.0f;
  }
  barrier();
  const int c = thread() % kStrip, part = thread() / kStrip;
  float largest = 0;
  for (int r = part * 32; r < part * 32 + 32; ++r) {
    largest = fmaxf(largest, fabsf(values[r * (kStrip + 1) + c]));
  }
  most[part * kStrip + c] = largest;
  barrier();
  for (int i = 0; i < 4; ++i) largest = fmaxf(largest, most[i * kStrip + c]);
  const float scale = scale_of(largest);
  if (part == 0 && c < columns) op.scales[block_x() * op.columns + column + c] = scale;
  for (int r = part * 32; r < part * 32 + 32; ++r) {
    bytes[c * kStride + r] = to_e4m3(values[r * (kStrip + 1) + c] / scale);
  }
  barrier();
  write_tile<kStride>(bytes, op.to + column * op.rows + row, op.rows, columns, rows);
}

// A block of 256 takes 128x128, which it reads twice, the second time from its cache.
template <typename T, bool kTransposed>
__global__ void blocks_kernel(const Quantise op) {
  constexpr int kStride = kTile + 4;
  std::uint8_t* bytes = shared<std::uint8_t>(128);
  const std::int64_t row = static_cast<std::int64_t>(block_x()) * kTile;
  const std::int64_t column = static_cast<std::int64_t>(block_y()) * kTile;
  const int rows = extent(row, op.rows, kTile), columns = extent(column, op.columns, kTile);
  const T* x = static_cast<const T*>(op.x) + row * op.columns + column;
  float most = 0;
  for (int i = thread(); i < rows * columns; i += threads()) {
    most = fmaxf(most, fabsf(to_float(x[i / columns * op.columns + i % columns])));
  }
  const float scale = scale_of(block_max(most, shared<float>()));
  if (thread() == 0) {
    const std::int64_t stride = scale_stride(op, kTransposed);
    const int at = kTransposed ? block_y() : block_x(), along = kTransposed ? block_x() : block_y();
    op.scales[at * stride + along] = scale;
    const std::int64_t tiles = tiles_of(kTransposed ? op.rows : op.columns);
    if (along == tiles - 1) {
      for (std::int64_t i = tiles; i < stride; ++i) op.scales[at * stride + i] = 1.0f;
    }
  }
  for (int i = thread(); i < rows * columns; i += threads()) {
    const int r = i / columns, c = i % columns;
    const std::uint8_t byte = to_e4m3(to_float(x[r * op.columns + c]) / scale);
    bytes[kTransposed ? c * kStride + r : r * kStride + c] = byte;
  }
  barrier();
  if (kTransposed) {
    write_tile<kStride>(bytes, op.to + column * op.rows + row, op.rows, columns, rows);
  } else {
    write_tile<kStride>(bytes, op.to + row * op.columns + column, op.columns, rows, columns);
  }
}

template <typename T>
Code start_of(Context& context, const Quantise& op) {
  const Launch rows{.x = static_cast<int>((op.rows + 7) / 8),
                    .y = static_cast<int>(tiles_of(op.columns))};
  const Launch blocks{.x = static_cast<int>(tiles_of(op.rows)),
                      .y = static_cast<int>(tiles_of(op.columns)),
                      .shared_bytes = 128 + kTile * (kTile + 4)};
  const Launch strips{
      .x = static_cast<int>(tiles_of(op.rows)),
      .y = static_cast<int>((op.columns + kStrip - 1) / kStrip),
      .shared_bytes = 4 * (kTile * (kStrip + 1) + 4 * kStrip) + kStrip * (kTile + 4)};
  switch (op.tiles) {
    case Tiles::Rows:
      return op.columns % 4 == 0 && aligned(16, op.x) && aligned(4, op.to)
                 ? start(context, "quantisation", rows_kernel<T, 4>, rows, op)
                 : start(context, "quantisation", rows_kernel<T, 1>, rows, op);
    case Tiles::Columns:
      return start(context, "quantisation", columns_kernel<T>, strips, op);
    case Tiles::Blocks:
      return start(context, "quantisation", blocks_kernel<T, false>, blocks, op);
    case Tiles::BlocksTransposed:
      return start(context, "quantisation", blocks_kernel<T, true>, blocks, op);
  }
  return refuse(context, Code::Invalid, "quantisation: no such tiles");
}

}  // namespace

Code run(Context& context, const Quantise& op) {
  return op.type == Type::F32 ? start_of<float>(context, op) : start_of<Bf16>(context, op);
}

}  // namespace narrows::gpu

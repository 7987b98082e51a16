// SPDX-License-Identifier: Apache-2.0
#include "kernels/amx.h"

#include <algorithm>

#include "base/result.h"
#include "kernels/vector.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/amx_tiles.h"
#endif

namespace narrows::kernels {

#if defined(__x86_64__) && defined(__linux__)

namespace {

using namespace amx;

constexpr std::int64_t kBlockDepth = 512;
constexpr std::int64_t kBlockRows = 128;
constexpr std::int64_t kBlockColumns = 1024;
static_assert((kBlockRows + kBlockColumns) * kBlockDepth * 2 == kAmxScratch);

// What is packed at a time. Sums that are stored as bf16 are whole when they are.
struct Blocks {
  std::int64_t rows = kBlockRows;
  std::int64_t columns = kBlockColumns;
  std::int64_t depth = kBlockDepth;
};
Blocks blocks_of(const Matmul& op) {
  if (op.c_narrow == nullptr || op.k <= kBlockDepth) return {};
  ASSERT(op.k <= kAmxNarrowDepth);
  const std::int64_t depth = divided_up(op.k, kDepth) * kDepth;
  const auto fitting = [&](std::int64_t outers) {
    return outers * kBlockDepth / depth / kCorner * kCorner;
  };
  return {fitting(kBlockRows), fitting(kBlockColumns), depth};
}

// A packed block of a times one of b, along the rows of the result.
NARROWS_TILED void multiply_block(const char* a, const char* b, std::int64_t tiles,
                                  const Corner& to) {
  const std::int64_t row_strips = divided_up(to.rows, kEdge);
  const std::int64_t column_strips = divided_up(to.columns, kEdge);
  for (std::int64_t i = 0; i < row_strips; i += 2) {
    const Strips left = strips_at(a, i, row_strips, tiles);
    for (std::int64_t j = 0; j < column_strips; j += 2) {
      multiply_corner(left, strips_at(b, j, column_strips, tiles), tiles,
                      corner_at(to, i * kEdge, j * kEdge));
    }
  }
}

constexpr unsigned kTileBf16 = 1u << 22;
constexpr unsigned kTiles = 1u << 24;
constexpr long kAskForState = 0x1023;  // ARCH_REQ_XCOMP_PERM
constexpr long kTileData = 18;

bool processor_has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool tiles = (d & kTiles) != 0 && (d & kTileBf16) != 0;
  return tiles && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

bool has_amx() {
  static const bool has =
      processor_has_tiles() && syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  return has;
}

NARROWS_TILED
void amx_matmul(const Matmul& op, void* scratch) {
  const Source a{op.a, op.a_narrow, op.a_narrow == nullptr ? op.stride_a : op.stride_a_narrow,
                 !op.transpose_a};
  const Source b{op.b, op.b_narrow, op.b_narrow == nullptr ? op.stride_b : op.stride_b_narrow,
                 op.transpose_b};
  char* const packed_b = static_cast<char*>(scratch);
  char* const packed_a = packed_b + kBlockColumns * kBlockDepth * 2;
  if (op.beta != 0 && op.beta != 1) {
    for (std::int64_t r = 0; r < op.m; ++r) {
      for (std::int64_t c = 0; c < op.n; ++c) op.c[r * op.stride_c + c] *= op.beta;
    }
  }
  const TileConfig config;
  _tile_loadconfig(&config);
  const Blocks block = blocks_of(op);
  for (std::int64_t k = 0; k < op.k; k += block.depth) {
    const std::int64_t depth = std::min(block.depth, op.k - k);
    const std::int64_t tiles = divided_up(depth, kDepth);
    const Corner whole{op.c,
                       op.c_narrow == nullptr ? op.stride_c : op.stride_c_narrow,
                       op.m,
                       op.n,
                       k > 0 || op.beta != 0,
                       op.to_bf16 && op.c_narrow == nullptr && k + depth == op.k,
                       op.c_narrow};
    for (std::int64_t n = 0; n < op.n; n += block.columns) {
      const std::int64_t columns = std::min(block.columns, op.n - n);
      pack(b, {n, columns, k, depth}, true, packed_b);
      for (std::int64_t m = 0; m < op.m; m += block.rows) {
        Corner part = corner_at(whole, m, n);
        part.rows = std::min(block.rows, op.m - m);
        part.columns = columns;
        pack(a, {m, part.rows, k, depth}, false, packed_a);
        multiply_block(packed_a, packed_b, tiles, part);
      }
    }
  }
  _tile_release();
}

#else

bool has_amx() { return false; }

void amx_matmul(const Matmul&, void*) { ASSERT(has_amx()); }

#endif

}  // namespace narrows::kernels

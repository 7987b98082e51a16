// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu_products.h"

#include <algorithm>

#include "base/result.h"
#include "kernels/amx.h"
#include "kernels/bf16.h"
#include "runtime/cpu_matmul.h"

namespace narrows {
namespace {

constexpr std::int64_t kRows = 16;  // that a thread packs at least

kernels::Matmul part_of(const kernels::Matmul& op, bool by_rows, std::int64_t first,
                        std::int64_t last) {
  kernels::Matmul part = op;
  if (by_rows) {
    part.m = last - first;
    if (op.a != nullptr) part.a += op.transpose_a ? first : first * op.stride_a;
    if (op.a_narrow != nullptr) {
      part.a_narrow += op.transpose_a ? first : first * op.stride_a_narrow;
    }
    if (op.c != nullptr) part.c += first * op.stride_c;
    if (op.c_narrow != nullptr) part.c_narrow += first * op.stride_c_narrow;
  } else {
    part.n = last - first;
    if (op.b != nullptr) part.b += op.transpose_b ? first * op.stride_b : first;
    if (op.b_narrow != nullptr) {
      part.b_narrow += op.transpose_b ? first * op.stride_b_narrow : first;
    }
    if (op.c != nullptr) part.c += first;
    if (op.c_narrow != nullptr) part.c_narrow += first;
  }
  return part;
}

void round_result(const kernels::Matmul& op) {
  for (std::int64_t r = 0; r < op.m; ++r) {
    kernels::round_to_bf16(op.c + r * op.stride_c, op.n);
  }
}

}  // namespace

float* WorkersScratch::at_least(int worker, std::int64_t floats) {
  Memory& mine = of_worker_[static_cast<std::size_t>(worker)];
  if (floats <= mine.count) return mine.data.get();
  mine.count = (floats + 15) / 16 * 16;
  const std::size_t bytes = static_cast<std::size_t>(mine.count) * 4;
  mine.data.reset(static_cast<float*>(allocate_large(bytes)));
  return mine.data.get();
}

CpuProducts::CpuProducts(Workers& workers, WorkersScratch& scratch)
    : workers_(workers), scratch_(scratch), amx_(kernels::has_amx()) {}

// The longer side of the result is shared out.
void CpuProducts::run(const kernels::Matmul& op, Multiply format) {
  const bool tiles = format == Multiply::Bf16 && amx_;
  if (op.c_narrow != nullptr && (!tiles || op.k > kernels::kAmxNarrowDepth)) {
    return run_narrowed(op, format);
  }
  if (format == Multiply::Fp8Block) return run_fp8(op);
  const bool by_rows = op.m >= op.n;
  const kernels::Matmul whole = format == Multiply::F32 ? widened(op) : tiles ? op : rounded(op);
  workers_.share(by_rows ? op.m : op.n, 64, [&](int worker, std::int64_t first, std::int64_t last) {
    const kernels::Matmul part = part_of(whole, by_rows, first, last);
    if (tiles) {
      kernels::amx_matmul(part, scratch_.at_least(worker, kernels::kAmxScratch / 4));
    } else {
      format == Multiply::Bf16 ? multiply_bf16(part) : multiply_f32(part);
      if (part.to_bf16) round_result(part);
    }
  });
}

// On tiles a thread takes a whole product, whose operands are then packed once; only the last few
// are halved, so that no thread waits for long.
void CpuProducts::run(const std::vector<kernels::Matmul>& group, Multiply format) {
  const bool fits = std::all_of(group.begin(), group.end(), [](const kernels::Matmul& op) {
    return op.c_narrow == nullptr || op.k <= kernels::kAmxNarrowDepth;
  });
  const std::size_t threads = static_cast<std::size_t>(workers_.threads());
  if (format != Multiply::Bf16 || !amx_ || !fits || group.size() < 2 * threads) {
    for (const kernels::Matmul& op : group) run(op, format);
    return;
  }
  std::vector<kernels::Matmul> parts;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const kernels::Matmul& op = group[i];
    const bool by_rows = op.m >= op.n;
    const std::int64_t longer = by_rows ? op.m : op.n;
    const std::int64_t half = longer / 128 * 64;
    if (i + threads < group.size() || half == 0) {
      parts.push_back(op);
      continue;
    }
    parts.push_back(part_of(op, by_rows, 0, half));
    parts.push_back(part_of(op, by_rows, half, longer));
  }
  workers_.share(
      std::ssize(parts), 1,
      [&](int worker, std::int64_t first, std::int64_t last) {
        float* const mine = scratch_.at_least(worker, kernels::kAmxScratch / 4);
        for (std::int64_t i = first; i < last; ++i) {
          kernels::amx_matmul(parts[static_cast<std::size_t>(i)], mine);
        }
      },
      std::ssize(parts));
}

void CpuProducts::quantise(Fp8Operand& to, kernels::Fp8Quantise op) {
  const bool by_row =
      op.scaling == kernels::Fp8Scaling::Rows || op.scaling == kernels::Fp8Scaling::BlocksOfRows;
  to.tiles = kernels::fp8_tiles(by_row ? op.columns : op.rows);
  const std::int64_t scales = (by_row ? op.rows : op.columns) * to.tiles;
  if (std::ssize(to.numbers) < op.rows * op.columns) {
    to.numbers.resize(static_cast<std::size_t>(op.rows * op.columns));
  }
  if (std::ssize(to.scales) < scales) to.scales.resize(static_cast<std::size_t>(scales));
  op.to = to.numbers.data();
  op.scales = to.scales.data();
  workers_.share(op.rows, kernels::kFp8Tile, [&](int, std::int64_t first, std::int64_t last) {
    fp8_quantise(op, first, last);
  });
}

void CpuProducts::quantise_operands(const kernels::Matmul& op) {
  using kernels::Fp8Scaling;
  const bool is_weight_grad = op.transpose_a;
  const std::int64_t rows_a = is_weight_grad ? op.k : op.m;
  const std::int64_t columns_a = is_weight_grad ? op.m : op.k;
  quantise(fp8_a_, {.from = op.a,
                    .stride = op.stride_a,
                    .rows = rows_a,
                    .columns = columns_a,
                    .scaling = is_weight_grad ? Fp8Scaling::Columns : Fp8Scaling::Rows});
  const std::int64_t rows_b = op.transpose_b ? op.n : op.k;
  const std::int64_t columns_b = op.transpose_b ? op.k : op.n;
  quantise(fp8_b_, {.from = op.b,
                    .stride = op.stride_b,
                    .rows = rows_b,
                    .columns = columns_b,
                    .scaling = is_weight_grad   ? Fp8Scaling::Columns
                               : op.transpose_b ? Fp8Scaling::BlocksOfRows
                                                : Fp8Scaling::BlocksOfColumns});
}

void CpuProducts::run_fp8(const kernels::Matmul& op) {
  quantise_operands(op);
  kernels::Matmul whole = op;
  whole.a = whole.b = nullptr;
  whole.a_narrow = fp8_a_.numbers.data();
  whole.stride_a_narrow = op.transpose_a ? op.m : op.k;
  whole.b_narrow = fp8_b_.numbers.data();
  whole.stride_b_narrow = op.transpose_b ? op.k : op.n;
  workers_.share(op.m, kernels::kFp8Tile, [&](int worker, std::int64_t first, std::int64_t last) {
    multiply_fp8(whole, worker, first, last);
    if (whole.to_bf16) round_result(part_of(whole, true, first, last));
  });
}

// Some rows at a time, so that the part of a tile stays in the cache.
void CpuProducts::multiply_fp8(const kernels::Matmul& whole, int worker, std::int64_t first,
                               std::int64_t last) {
  const kernels::SmallMatmul small = small_narrow();
  float* const mine = scratch_.at_least(worker, small.scratch + (kernels::kFp8Tile + 1) * whole.n);
  for (std::int64_t row = first; row < last; row += kernels::kFp8Tile) {
    const std::int64_t end = std::min(last, row + kernels::kFp8Tile);
    fp8_matmul({part_of(whole, true, row, end), fp8_a_.scales.data() + row * fp8_a_.tiles,
                fp8_b_.scales.data()},
               small, mine, mine + small.scratch);
  }
}

// By way of floats.
void CpuProducts::run_narrowed(const kernels::Matmul& op, Multiply format) {
  kernels::Matmul wide = op;
  if (std::ssize(wide_c_) < op.m * op.n) wide_c_.resize(static_cast<std::size_t>(op.m * op.n));
  wide.c = wide_c_.data();
  wide.stride_c = op.n;
  wide.c_narrow = nullptr;
  run(wide, format);
  workers_.share(op.m, kRows, [&](int, std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      kernels::to_bf16(wide.c + r * op.n, op.n, op.n, op.c_narrow + r * op.stride_c_narrow, 0, 1);
    }
  });
}

// Operands that are given in bf16 as floats.
kernels::Matmul CpuProducts::widened(const kernels::Matmul& op) {
  kernels::Matmul wide = op;
  if (op.a_narrow != nullptr) {
    wide.stride_a = op.transpose_a ? op.m : op.k;
    wide.a = unpacked(wide_a_, op.a_narrow, op.stride_a_narrow, op.transpose_a ? op.k : op.m,
                      wide.stride_a);
  }
  if (op.b_narrow != nullptr) {
    wide.stride_b = op.transpose_b ? op.k : op.n;
    wide.b = unpacked(wide_b_, op.b_narrow, op.stride_b_narrow, op.transpose_b ? op.n : op.k,
                      wide.stride_b);
  }
  wide.a_narrow = wide.b_narrow = nullptr;
  return wide;
}

const float* CpuProducts::unpacked(std::vector<float>& to, const std::uint16_t* from,
                                   std::int64_t stride, std::int64_t rows, std::int64_t columns) {
  if (std::ssize(to) < rows * columns) to.resize(static_cast<std::size_t>(rows * columns));
  workers_.share(rows, kRows, [&](int, std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      kernels::from_bf16(from + r * stride, to.data() + r * columns, columns);
    }
  });
  return to.data();
}

// Both operands packed in bf16.
kernels::Matmul CpuProducts::rounded(const kernels::Matmul& op) {
  kernels::Matmul narrow = op;
  if (op.a_narrow == nullptr) {
    narrow.stride_a_narrow = op.transpose_a ? op.m : op.k;
    narrow.a_narrow =
        packed(narrow_a_, op.a, op.stride_a, op.transpose_a ? op.k : op.m, narrow.stride_a_narrow);
  }
  if (op.b_narrow == nullptr) {
    narrow.stride_b_narrow = op.transpose_b ? op.k : op.n;
    narrow.b_narrow =
        packed(narrow_b_, op.b, op.stride_b, op.transpose_b ? op.n : op.k, narrow.stride_b_narrow);
  }
  return narrow;
}

const std::uint16_t* CpuProducts::packed(std::vector<std::uint16_t>& to, const float* from,
                                         std::int64_t stride, std::int64_t rows,
                                         std::int64_t columns) {
  if (std::ssize(to) < rows * columns) to.resize(static_cast<std::size_t>(rows * columns));
  workers_.share(rows, kRows, [&](int, std::int64_t first, std::int64_t last) {
    kernels::to_bf16(from, stride, columns, to.data(), first, last);
  });
  return to.data();
}

}  // namespace narrows

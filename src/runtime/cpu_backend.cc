// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu_backend.h"

#include <algorithm>
#include <cstdlib>

#include "base/result.h"
#include "kernels/amx.h"
#include "kernels/bf16.h"
#include "kernels/fp8.h"
#include "runtime/cpu_matmul.h"
#include "runtime/workers.h"

namespace narrows {
namespace {

// Rows that a thread takes at least: below, handing work over costs more than it saves.
constexpr std::int64_t kRows = 16;
constexpr std::int64_t kElements = 1 << 14;

// Memory of one thread, at a multiple of a cache line; it only grows.
class Scratch {
 public:
  float* at_least(std::int64_t floats) {
    if (floats <= count_) return data_.get();
    count_ = (floats + 15) / 16 * 16;
    data_.reset(static_cast<float*>(std::aligned_alloc(64, static_cast<std::size_t>(count_) * 4)));
    ASSERT(data_ != nullptr);
    return data_.get();
  }

 private:
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  std::unique_ptr<float[], Free> data_;
  std::int64_t count_ = 0;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads)
      : workers_(threads), scratch_(static_cast<std::size_t>(threads)), amx_(kernels::has_amx()) {
    workers_.share(threads, 1, [](int, std::int64_t, std::int64_t) { be_single_threaded(); });
  }

  void adopt_thread() override { be_single_threaded(); }

  // The longer side of the result is shared out.
  void run(const kernels::Matmul& op, Multiply format) override {
    if (format == Multiply::Fp8Block) return run_fp8(op);
    const bool by_rows = op.m >= op.n;
    const bool tiles = format == Multiply::Bf16 && amx_;
    const kernels::Matmul whole = format == Multiply::Bf16 && !amx_ ? rounded(op) : op;
    workers_.share(by_rows ? op.m : op.n, 64,
                   [&](int worker, std::int64_t first, std::int64_t last) {
                     const kernels::Matmul part = part_of(whole, by_rows, first, last);
                     if (tiles) {
                       kernels::amx_matmul(part, scratch(worker, kernels::kAmxScratch / 4));
                     } else {
                       format == Multiply::Bf16 ? multiply_bf16(part) : multiply_f32(part);
                       if (part.to_bf16) round_result(part);
                     }
                   });
  }
  void run(const kernels::Norm& op) override {
    by_rows(op.rows, [&](auto... r) { norm(op, r...); });
  }
  void run(const kernels::NormGrad& op) override {
    by_rows(op.forward.rows, [&](auto... r) { norm_grad(op, r...); });
    workers_.share(op.forward.columns, 64, [&](int, std::int64_t first, std::int64_t last) {
      norm_weight_grad(op, first, last);
    });
  }
  void run(const kernels::LayerNorm& op) override {
    by_rows(op.rows, [&](auto... r) { layer_norm(op, r...); });
  }
  void run(const kernels::LayerNormGrad& op) override {
    by_rows(op.forward.rows, [&](auto... r) { layer_norm_grad(op, r...); });
    by_columns(op.forward.columns, [&](auto... c) { layer_norm_weight_grad(op, c...); });
  }
  void run(const kernels::HeadNorm& op) override {
    by_rows(op.rows, [&](auto... r) { head_norm(op, r...); });
  }
  void run(const kernels::HeadNormGrad& op) override {
    by_rows(op.forward.rows, [&](auto... r) { head_norm_grad(op, r...); });
    by_columns(op.forward.dim, [&](auto... c) { head_norm_weight_grad(op, c...); });
  }
  void run(const kernels::AddBias& op) override {
    by_rows(op.rows, [&](auto... r) { add_bias(op, r...); });
  }
  void run(const kernels::BiasGrad& op) override {
    by_columns(op.columns, [&](auto... c) { bias_grad(op, c...); });
  }
  void run(const kernels::GatedSum& op) override {
    by_rows(op.rows, [&](auto... r) { gated_sum(op, r...); });
  }
  void run(const kernels::GatedSumGrad& op) override {
    by_rows(op.forward.rows, [&](auto... r) { gated_sum_grad(op, r...); });
  }
  void run(const kernels::Gelu& op) override {
    by_elements(op.count, [&](auto... i) { gelu(op, i...); });
  }
  void run(const kernels::GeluGrad& op) override {
    by_elements(op.forward.count, [&](auto... i) { gelu_grad(op, i...); });
  }
  void run(const kernels::SwiGlu& op) override {
    by_rows(op.rows, [&](auto... r) { swiglu(op, r...); });
  }
  void run(const kernels::SwiGluGrad& op) override {
    by_rows(op.forward.rows, [&](auto... r) { swiglu_grad(op, r...); });
  }
  void run(const kernels::Rotation& op) override {
    by_rows(op.rows, [&](auto... r) { rotate(op, r...); });
  }
  void run(const kernels::KeyAssembly& op) override {
    by_rows(op.rows, [&](auto... r) { assemble_keys(op, r...); });
  }
  void run(const kernels::KeyAssemblyGrad& op) override {
    by_rows(op.forward.rows, [&](auto... r) { assemble_keys_grad(op, r...); });
  }
  void run(kernels::Attention op) override {
    op.multiply = small_matmul(op);
    units(attention_units(op), attention_scratch(op),
          [&](std::int64_t unit, float* scratch) { attention(op, unit, scratch); });
  }
  void run(kernels::AttentionGrad op) override {
    op.forward.multiply = small_matmul(op.forward);
    units(attention_units(op.forward), attention_scratch(op.forward),
          [&](std::int64_t unit, float* scratch) { attention_grad(op, unit, scratch); });
  }
  void run(const kernels::AttentionMerge& op) override {
    by_rows(op.rows, [&](auto... r) { merge(op, r...); });
  }
  void run(const kernels::Router& op) override {
    by_rows(op.rows, [&](auto... r) { route(op, r...); });
  }
  void run(const kernels::RouterGrad& op) override {
    by_rows(op.forward.rows, [&](auto... r) { route_grad(op, r...); });
  }
  void run(const kernels::LogitPart& part, std::vector<kernels::PartialSoftmax>& out) override {
    out.resize(static_cast<std::size_t>(part.rows));
    by_rows(part.rows, [&](auto... r) { partial_softmax(part, out.data(), r...); });
  }
  void run(const kernels::LogitPart& part, const std::vector<kernels::PartialSoftmax>& whole,
           float scale) override {
    by_rows(part.rows, [&](auto... r) { loss_grad(part, whole.data(), scale, r...); });
  }
  void run(const kernels::PickRows& op) override {
    by_rows(op.rows, [&](auto... r) { pick_rows(op, r...); });
  }
  void run(const kernels::SumRows& op) override {
    by_rows(op.rows, [&](auto... r) { sum_rows(op, r...); });
  }
  void run(const kernels::ScatterRows& op) override {
    workers_.share(op.columns, 64, [&](int, std::int64_t first, std::int64_t last) {
      scatter_rows(op, first, last);
    });
  }
  void run(const kernels::Add& op) override {
    workers_.share(op.count, kElements,
                   [&](int, std::int64_t first, std::int64_t last) { add(op, first, last); });
  }
  void run(const kernels::PackRows& op) override {
    by_rows(op.rows, [&](auto... r) { pack_rows(op, r...); });
  }
  void run(const kernels::AdamW& op) override {
    workers_.share(op.count, kElements,
                   [&](int, std::int64_t first, std::int64_t last) { adamw(op, first, last); });
  }
  double sum_of_squares(const float* x, std::int64_t count) override {
    const std::int64_t blocks = (count + kernels::kSumBlock - 1) / kernels::kSumBlock;
    std::vector<double> sums(static_cast<std::size_t>(blocks));
    workers_.share(blocks, 4, [&](int, std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        const std::int64_t at = i * kernels::kSumBlock;
        sums[static_cast<std::size_t>(i)] =
            kernels::sum_of_squares(x + at, std::min(kernels::kSumBlock, count - at));
      }
    });
    double total = 0;
    for (const double sum : sums) total += sum;
    return total;
  }
  void clear(float* x, std::int64_t count) override {
    by_elements(count, [&](std::int64_t i, std::int64_t end) { std::fill(x + i, x + end, 0.0f); });
  }
  void round_to_bf16(float* x, std::int64_t count) override {
    by_elements(count,
                [&](std::int64_t i, std::int64_t end) { kernels::round_to_bf16(x + i, end - i); });
  }

 private:
  static kernels::SmallMatmul small_matmul(const kernels::Attention& op) {
    if (!op.narrow) return small_f32();
    const std::int64_t row = std::max({op.qk_dim, op.v_dim, op.keys});
    return small_bf16(row * (op.keys + attention_rows(op)));
  }
  static kernels::Matmul part_of(const kernels::Matmul& op, bool by_rows, std::int64_t first,
                                 std::int64_t last) {
    kernels::Matmul part = op;
    if (by_rows) {
      part.m = last - first;
      if (op.a != nullptr) part.a += op.transpose_a ? first : first * op.stride_a;
      if (op.a_narrow != nullptr) {
        part.a_narrow += op.transpose_a ? first : first * op.stride_a_narrow;
      }
      part.c += first * op.stride_c;
    } else {
      part.n = last - first;
      if (op.b != nullptr) part.b += op.transpose_b ? first * op.stride_b : first;
      if (op.b_narrow != nullptr) {
        part.b_narrow += op.transpose_b ? first * op.stride_b_narrow : first;
      }
      part.c += first;
    }
    return part;
  }
  static void round_result(const kernels::Matmul& op) {
    for (std::int64_t r = 0; r < op.m; ++r) {
      kernels::round_to_bf16(op.c + r * op.stride_c, op.n);
    }
  }
  // Quantised operands of a matmul.
  struct Fp8Operand {
    std::vector<std::uint16_t> numbers;
    std::vector<float> scales;
    std::int64_t tiles = 0;  // scales of one outer index
  };
  void quantise(Fp8Operand& to, kernels::Fp8Quantise op) {
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
  void run_fp8(const kernels::Matmul& op) {
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
    kernels::Matmul whole = op;
    whole.a = whole.b = nullptr;
    whole.a_narrow = fp8_a_.numbers.data();
    whole.stride_a_narrow = columns_a;
    whole.b_narrow = fp8_b_.numbers.data();
    whole.stride_b_narrow = columns_b;
    workers_.share(op.m, kernels::kFp8Tile, [&](int worker, std::int64_t first, std::int64_t last) {
      multiply_fp8(whole, worker, first, last);
      if (whole.to_bf16) round_result(part_of(whole, true, first, last));
    });
  }
  // Some rows at a time, so that the part of a tile stays in the cache.
  void multiply_fp8(const kernels::Matmul& whole, int worker, std::int64_t first,
                    std::int64_t last) {
    const kernels::SmallMatmul small = small_narrow();
    float* const mine = scratch(worker, small.scratch + (kernels::kFp8Tile + 1) * whole.n);
    for (std::int64_t row = first; row < last; row += kernels::kFp8Tile) {
      const std::int64_t end = std::min(last, row + kernels::kFp8Tile);
      fp8_matmul({part_of(whole, true, row, end), fp8_a_.scales.data() + row * fp8_a_.tiles,
                  fp8_b_.scales.data()},
                 small, mine, mine + small.scratch);
    }
  }
  // Both operands packed in bf16.
  kernels::Matmul rounded(const kernels::Matmul& op) {
    kernels::Matmul narrow = op;
    if (op.a_narrow == nullptr) {
      narrow.stride_a_narrow = op.transpose_a ? op.m : op.k;
      narrow.a_narrow = packed(narrow_a_, op.a, op.stride_a, op.transpose_a ? op.k : op.m,
                               narrow.stride_a_narrow);
    }
    if (op.b_narrow == nullptr) {
      narrow.stride_b_narrow = op.transpose_b ? op.k : op.n;
      narrow.b_narrow = packed(narrow_b_, op.b, op.stride_b, op.transpose_b ? op.n : op.k,
                               narrow.stride_b_narrow);
    }
    return narrow;
  }
  const std::uint16_t* packed(std::vector<std::uint16_t>& to, const float* from,
                              std::int64_t stride, std::int64_t rows, std::int64_t columns) {
    if (std::ssize(to) < rows * columns) to.resize(static_cast<std::size_t>(rows * columns));
    by_rows(rows, [&](auto... r) { kernels::to_bf16(from, stride, columns, to.data(), r...); });
    return to.data();
  }
  float* scratch(int worker, std::int64_t floats) {
    return scratch_[static_cast<std::size_t>(worker)].at_least(floats);
  }
  template <typename Work>
  void by_rows(std::int64_t rows, const Work& work) {
    workers_.share(rows, kRows,
                   [&](int, std::int64_t first, std::int64_t last) { work(first, last); });
  }
  template <typename Work>
  void by_columns(std::int64_t columns, const Work& work) {
    workers_.share(columns, 64,
                   [&](int, std::int64_t first, std::int64_t last) { work(first, last); });
  }
  template <typename Work>
  void by_elements(std::int64_t count, const Work& work) {
    workers_.share(count, kElements,
                   [&](int, std::int64_t first, std::int64_t last) { work(first, last); });
  }
  template <typename Work>
  void units(std::int64_t count, std::int64_t floats, const Work& work) {
    workers_.share(count, 1, [&](int worker, std::int64_t first, std::int64_t last) {
      float* const mine = scratch(worker, floats);
      for (std::int64_t unit = first; unit < last; ++unit) work(unit, mine);
    });
  }

  Workers workers_;
  std::vector<Scratch> scratch_;                    // one a thread
  std::vector<std::uint16_t> narrow_a_, narrow_b_;  // a matmul's operands, without tiles
  Fp8Operand fp8_a_, fp8_b_;
  bool amx_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return std::make_unique<CpuBackend>(threads);
}

}  // namespace narrows

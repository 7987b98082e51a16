// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu_backend.h"

#include <algorithm>

#include "base/result.h"
#include "kernels/bf16.h"
#include "runtime/cpu_matmul.h"
#include "runtime/workers.h"

namespace narrows {
namespace {

// Rows that a thread takes at least: below, handing work over costs more than it saves.
constexpr std::int64_t kRows = 16;
constexpr std::int64_t kElements = 1 << 14;

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads)
      : workers_(threads), scratch_(static_cast<std::size_t>(threads)) {
    workers_.share(threads, 1, [](int, std::int64_t, std::int64_t) { be_single_threaded(); });
  }

  // The longer side of the result is shared out.
  void run(const kernels::Matmul& op, Multiply format) override {
    const bool by_rows = op.m >= op.n;
    const Bf16Matmul narrow = format == Multiply::Bf16 ? rounded(op) : Bf16Matmul();
    workers_.share(by_rows ? op.m : op.n, 64, [&](int, std::int64_t first, std::int64_t last) {
      if (format == Multiply::Bf16) {
        multiply_bf16(part_of(narrow, by_rows, first, last));
      } else {
        multiply_f32(part_of(op, by_rows, first, last));
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
  // Scores are multiplied in f32 whatever the recipe.
  void run(kernels::Attention op) override {
    op.multiply = multiply_f32;
    units(attention_units(op), attention_scratch(op),
          [&](std::int64_t unit, float* scratch) { attention(op, unit, scratch); });
  }
  void run(kernels::AttentionGrad op) override {
    op.forward.multiply = multiply_f32;
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
  void run(const kernels::AdamW& op) override {
    workers_.share(op.count, kElements,
                   [&](int, std::int64_t first, std::int64_t last) { adamw(op, first, last); });
  }
  double sum_of_squares(const float* x, std::int64_t count) override {
    return kernels::sum_of_squares(x, count);
  }

 private:
  static kernels::Matmul part_of(const kernels::Matmul& op, bool by_rows, std::int64_t first,
                                 std::int64_t last) {
    kernels::Matmul part = op;
    if (by_rows) {
      part.m = last - first;
      part.a += op.transpose_a ? first : first * op.stride_a;
      part.c += first * op.stride_c;
    } else {
      part.n = last - first;
      part.b += op.transpose_b ? first * op.stride_b : first;
      part.c += first;
    }
    return part;
  }
  static Bf16Matmul part_of(const Bf16Matmul& op, bool by_rows, std::int64_t first,
                            std::int64_t last) {
    const kernels::Matmul& s = op.shape;
    Bf16Matmul part{part_of(s, by_rows, first, last), op.a, op.b};
    if (by_rows) {
      part.a += s.transpose_a ? first : first * s.stride_a;
    } else {
      part.b += s.transpose_b ? first * s.stride_b : first;
    }
    return part;
  }
  // The operands packed in bf16.
  Bf16Matmul rounded(const kernels::Matmul& op) {
    Bf16Matmul narrow{op, nullptr, nullptr};
    narrow.a = packed(narrow_a_, op.a, op.transpose_a ? op.k : op.m, narrow.shape.stride_a,
                      op.transpose_a ? op.m : op.k);
    narrow.b = packed(narrow_b_, op.b, op.transpose_b ? op.n : op.k, narrow.shape.stride_b,
                      op.transpose_b ? op.k : op.n);
    return narrow;
  }
  const std::uint16_t* packed(std::vector<std::uint16_t>& to, const float* from, std::int64_t rows,
                              std::int64_t& stride, std::int64_t columns) {
    if (std::ssize(to) < rows * columns) to.resize(static_cast<std::size_t>(rows * columns));
    by_rows(rows, [&](auto... r) { kernels::to_bf16(from, stride, columns, to.data(), r...); });
    stride = columns;
    return to.data();
  }
  template <typename Work>
  void by_rows(std::int64_t rows, const Work& work) {
    workers_.share(rows, kRows,
                   [&](int, std::int64_t first, std::int64_t last) { work(first, last); });
  }
  template <typename Work>
  void units(std::int64_t count, std::int64_t scratch, const Work& work) {
    workers_.share(count, 1, [&](int worker, std::int64_t first, std::int64_t last) {
      std::vector<float>& mine = scratch_[static_cast<std::size_t>(worker)];
      if (std::ssize(mine) < scratch) mine.resize(static_cast<std::size_t>(scratch));
      for (std::int64_t unit = first; unit < last; ++unit) work(unit, mine.data());
    });
  }

  Workers workers_;
  std::vector<std::vector<float>> scratch_;         // one a thread
  std::vector<std::uint16_t> narrow_a_, narrow_b_;  // a matmul's operands
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return std::make_unique<CpuBackend>(threads);
}

}  // namespace narrows

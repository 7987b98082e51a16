// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu_backend.h"

#include <algorithm>

#include "kernels/amx_attention.h"
#include "kernels/bf16.h"
#include "runtime/cpu_matmul.h"
#include "runtime/cpu_products.h"
#include "runtime/workers.h"

namespace narrows {
namespace {

// Rows that a thread takes at least: below, handing work over costs more than it saves.
constexpr std::int64_t kRows = 16;
constexpr std::int64_t kElements = 1 << 14;
constexpr std::int64_t kRuns = 4;  // that a thread takes of such work, about

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads)
      : workers_(threads), scratch_(threads), products_(workers_, scratch_) {
    workers_.share(threads, 1, [](int, std::int64_t, std::int64_t) { be_single_threaded(); });
  }

  void adopt_thread() override { be_single_threaded(); }

  bool makes_bf16() const override { return products_.has_tiles(); }
  void run(const kernels::Matmul& op, Multiply format) override { products_.run(op, format); }
  void run(const std::vector<kernels::Matmul>& group, Multiply format) override {
    products_.run(group, format);
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
    if (op.narrow && products_.has_tiles()) {
      return units(attention_units(op), kernels::amx_attention_scratch(op),
                   [&](auto... u) { amx_attention(op, u...); });
    }
    op.multiply = small_matmul(op);
    units(attention_units(op), attention_scratch(op),
          [&](std::int64_t unit, float* scratch) { attention(op, unit, scratch); });
  }
  void run(kernels::AttentionGrad op) override {
    if (op.forward.narrow && products_.has_tiles()) {
      return units(attention_units(op.forward), kernels::amx_attention_scratch(op.forward),
                   [&](auto... u) { amx_attention_grad(op, u...); });
    }
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
    by_elements(op.count, [&](auto... i) { add(op, i...); });
  }
  void run(const kernels::PackRows& op) override {
    by_rows(op.rows, [&](auto... r) { pack_rows(op, r...); });
  }
  void run(const kernels::AdamW& op) override {
    by_elements(op.count, [&](auto... i) { adamw(op, i...); });
  }
  double sum_of_squares(const float* x, std::int64_t count) override {
    const std::int64_t blocks = (count + kernels::kSumBlock - 1) / kernels::kSumBlock;
    std::vector<double> sums(static_cast<std::size_t>(blocks));
    workers_.share(
        blocks, 4,
        [&](int, std::int64_t first, std::int64_t last) {
          for (std::int64_t i = first; i < last; ++i) {
            const std::int64_t at = i * kernels::kSumBlock;
            sums[static_cast<std::size_t>(i)] =
                kernels::sum_of_squares(x + at, std::min(kernels::kSumBlock, count - at));
          }
        },
        kRuns);
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
  template <typename Work>
  void by_rows(std::int64_t rows, const Work& work) {
    workers_.share(
        rows, kRows, [&](int, std::int64_t first, std::int64_t last) { work(first, last); }, kRuns);
  }
  template <typename Work>
  void by_columns(std::int64_t columns, const Work& work) {
    workers_.share(columns, 64,
                   [&](int, std::int64_t first, std::int64_t last) { work(first, last); });
  }
  template <typename Work>
  void by_elements(std::int64_t count, const Work& work) {
    workers_.share(
        count, kElements, [&](int, std::int64_t first, std::int64_t last) { work(first, last); },
        kRuns);
  }
  template <typename Work>
  void units(std::int64_t count, std::int64_t floats, const Work& work) {
    workers_.share(
        count, 1,
        [&](int worker, std::int64_t first, std::int64_t last) {
          float* const mine = scratch_.at_least(worker, floats);
          for (std::int64_t unit = first; unit < last; ++unit) work(unit, mine);
        },
        kRuns);
  }

  Workers workers_;
  WorkersScratch scratch_;
  CpuProducts products_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return std::make_unique<CpuBackend>(threads);
}

}  // namespace narrows

// A Backend whose every verb takes a known time on a clock of its own: products at a rate, the rest
// by the bytes it moves. Nothing is computed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "runtime/backend.h"

namespace narrows::testing {

class FakeBackend final : public Backend {
 public:
  static constexpr Seconds kFlop = 1e-11 * sec;  // 100 GFLOP/s
  static constexpr Seconds kByte = 1e-10 * sec;  // 10 GB/s

  // How slow the machine is at a moment; 1 if empty.
  std::function<double(Seconds now)> slowness;
  Seconds clock;
  Flops multiplied;
  int norms = 0, layer_norms = 0, head_norms = 0, gelus = 0, swiglus = 0;  // runs, both ways

  void run(const kernels::Matmul& op, Multiply format) override {
    const double products =
        static_cast<double>(op.m) * static_cast<double>(op.n) * static_cast<double>(op.k);
    multiplied += 2 * products * flop;
    pass((format == Multiply::Bf16 ? 0.25 : 1.0) * 2 * products * kFlop);
  }
  void run(const kernels::Norm& op) override {
    ++norms;
    move(2 * op.rows * op.columns);
  }
  void run(const kernels::NormGrad& op) override {
    ++norms;
    move(4 * op.forward.rows * op.forward.columns);
  }
  void run(const kernels::LayerNorm& op) override {
    ++layer_norms;
    move(2 * op.rows * op.columns);
  }
  void run(const kernels::LayerNormGrad& op) override {
    ++layer_norms;
    move(4 * op.forward.rows * op.forward.columns);
  }
  void run(const kernels::HeadNorm& op) override {
    ++head_norms;
    move(2 * op.rows * op.stride);
  }
  void run(const kernels::HeadNormGrad& op) override {
    ++head_norms;
    move(4 * op.forward.rows * op.forward.stride);
  }
  void run(const kernels::AddBias&) override {}
  void run(const kernels::BiasGrad&) override {}
  void run(const kernels::GatedSum&) override {}
  void run(const kernels::GatedSumGrad&) override {}
  void run(const kernels::Gelu& op) override {
    ++gelus;
    move(2 * op.count);
  }
  void run(const kernels::GeluGrad& op) override {
    ++gelus;
    move(3 * op.forward.count);
  }
  void run(const kernels::SwiGlu& op) override {
    ++swiglus;
    move(3 * op.rows * op.columns);
  }
  void run(const kernels::SwiGluGrad& op) override {
    ++swiglus;
    move(5 * op.forward.rows * op.forward.columns);
  }
  void run(const kernels::Rotation& op) override { move(2 * op.rows * op.heads); }
  void run(const kernels::KeyAssembly& op) override { move(2 * op.rows * op.heads); }
  void run(const kernels::KeyAssemblyGrad& op) override {
    move(2 * op.forward.rows * op.forward.heads);
  }
  void run(kernels::Attention op) override { attend(op, 1); }
  void run(kernels::AttentionGrad op) override { attend(op.forward, 2.5); }
  void run(const kernels::AttentionMerge&) override {}
  void clear(float*, std::int64_t count) override { move(count); }
  void round_to_bf16(float*, std::int64_t count) override { move(2 * count); }
  void run(const kernels::Router& op) override { move(op.rows * op.experts); }
  void run(const kernels::RouterGrad& op) override { move(op.forward.rows * op.forward.experts); }
  void run(const kernels::LogitPart& part, std::vector<kernels::PartialSoftmax>& out) override {
    out.resize(static_cast<std::size_t>(part.rows));
    move(part.rows * part.columns);
  }
  void run(const kernels::LogitPart& part, const std::vector<kernels::PartialSoftmax>&,
           float) override {
    move(2 * part.rows * part.columns);
  }
  void run(const kernels::PickRows& op) override { move(2 * op.rows * op.columns); }
  void run(const kernels::SumRows& op) override { move(2 * op.rows * op.columns); }
  void run(const kernels::ScatterRows& op) override { move(2 * op.rows * op.columns); }
  void run(const kernels::Add& op) override { move(3 * op.count); }
  void run(const kernels::PackRows& op) override { move(3 * op.rows * op.columns / 2); }
  void run(const kernels::AdamW& op) override { move(7 * op.count); }
  double sum_of_squares(const float*, std::int64_t count) override {
    move(count);
    return 0;
  }

 private:
  void pass(Seconds time) { clock += (slowness ? slowness(clock) : 1.0) * time; }
  void move(std::int64_t floats) { pass(4.0 * static_cast<double>(floats) * kByte); }
  void attend(const kernels::Attention& op, double times) {
    const double pairs =
        static_cast<double>(op.batch * op.heads * op.queries) * static_cast<double>(op.keys) / 2;
    pass(times * 2 * pairs * static_cast<double>(op.qk_dim + op.v_dim) * kFlop);
  }
};

}  // namespace narrows::testing

// What a device does for the runtime: one overload of `run` for each kind of work, in the structs
// that kernels/ defines. A call returns when its result may be read. The CPU's is cpu_backend.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/gelu.h"
#include "kernels/head_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/router.h"
#include "kernels/rows.h"
#include "model/recipe.h"

namespace narrows {

// In which format a matmul's operands are multiplied; sums and results are f32. Fp8Block: V3's
// scaled E4M3 (kernels/fp8.h), weights in blocks and all else in tiles along the summed dimension.
// Of such a product with a transposed `a`, a weight gradient's, no operand is a weight; of others,
// `b` is.
enum class Multiply { F32, Bf16, Fp8Block };

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  // Called once by a thread that will call `run` beside the one that made this; never at once.
  virtual void adopt_thread() {}

  // Whether activations of bf16 had better be made and read as such: its products work on tiles.
  // Elsewhere ops make them as floats that are rounded.
  virtual bool makes_bf16() const { return false; }

  virtual void run(const kernels::Matmul& op, Multiply format) = 0;
  // Independent ones, of the experts of a layer.
  virtual void run(const std::vector<kernels::Matmul>& group, Multiply format) {
    for (const kernels::Matmul& op : group) run(op, format);
  }
  virtual void run(const kernels::Norm& op) = 0;
  virtual void run(const kernels::NormGrad& op) = 0;  // dx and dweight
  virtual void run(const kernels::LayerNorm& op) = 0;
  virtual void run(const kernels::LayerNormGrad& op) = 0;  // dx, dweight and dbias
  virtual void run(const kernels::HeadNorm& op) = 0;
  virtual void run(const kernels::HeadNormGrad& op) = 0;  // dx and dweight
  virtual void run(const kernels::AddBias& op) = 0;
  virtual void run(const kernels::BiasGrad& op) = 0;
  virtual void run(const kernels::GatedSum& op) = 0;
  virtual void run(const kernels::GatedSumGrad& op) = 0;
  virtual void run(const kernels::Gelu& op) = 0;
  virtual void run(const kernels::GeluGrad& op) = 0;
  virtual void run(const kernels::SwiGlu& op) = 0;
  virtual void run(const kernels::SwiGluGrad& op) = 0;
  virtual void run(const kernels::Rotation& op) = 0;
  virtual void run(const kernels::KeyAssembly& op) = 0;
  virtual void run(const kernels::KeyAssemblyGrad& op) = 0;
  // `multiply` of these two is the backend's to fill in.
  virtual void run(kernels::Attention op) = 0;
  virtual void run(kernels::AttentionGrad op) = 0;
  virtual void run(const kernels::AttentionMerge& op) = 0;
  virtual void run(const kernels::Router& op) = 0;
  virtual void run(const kernels::RouterGrad& op) = 0;
  virtual void run(const kernels::LogitPart& part, std::vector<kernels::PartialSoftmax>& out) = 0;
  virtual void run(const kernels::LogitPart& part,
                   const std::vector<kernels::PartialSoftmax>& whole, float scale) = 0;
  virtual void run(const kernels::PickRows& op) = 0;
  virtual void run(const kernels::SumRows& op) = 0;
  virtual void run(const kernels::ScatterRows& op) = 0;
  virtual void run(const kernels::Add& op) = 0;
  virtual void run(const kernels::PackRows& op) = 0;
  virtual void run(const kernels::AdamW& op) = 0;
  virtual void clear(float* x, std::int64_t count) = 0;
  virtual void round_to_bf16(float* x, std::int64_t count) = 0;
  virtual double sum_of_squares(const float* x, std::int64_t count) = 0;
};

}  // namespace narrows

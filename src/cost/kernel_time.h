// How long one kernel takes on a chip, alone on it: from published measurements of that chip where
// there are any, else from a relative's, else from peak rates. Method: a measured time is the
// kernel's floor (kernel_time_floor.h) over an efficiency; efficiencies are interpolated between
// shapes, corrected by sparser measurements of the op in question (a direction, grouping, library
// or chip that the full grids do not cover) as ratios to what the grid says, and put back over the
// floor of the chip asked about.
//
// A `generation` names kernels that once were: "dsv3-2024" are those of the DeepSeek-V3 training
// trace on H800; "" takes the newest published rows. Attention may be of a generation of its own:
// "flash-2" are FlashAttention-2's kernels on Hopper. A generation that was measured neither on the
// chip nor on a relative is the newest there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "cost/estimate.h"
#include "hardware/chip.h"
#include "measurement/kernel_tables.h"
#include "model/op.h"
#include "software/profile.h"

namespace narrows {

class MatmulTimes;
class AttentionTimes;
class MemoryTimes;
class MachineTimes;

// Times on one chip. Reads the tables while it is made and keeps nothing of them. Const is
// thread-safe.
class KernelTimes {
 public:
  KernelTimes(const KernelTables& tables, const Chip& chip, const std::string& generation = "",
              const std::string& attention_generation = "");
  // With the kernels that the stack runs.
  KernelTimes(const KernelTables& tables, const Chip& chip, const SoftwareProfile& software);
  ~KernelTimes();
  KernelTimes(KernelTimes&&) noexcept;
  KernelTimes& operator=(KernelTimes&&) noexcept;

  // A dense or (groups > 1) grouped matmul of its expected rows. `shape` is that of the forward op
  // in every direction: InputGrad multiplies (m, n) by (n, k), WeightGrad (n, m) by (m, k) with
  // accumulation into fp32. Without the quantisation of inputs, which is an op of its own.
  Estimate matmul(Recipe recipe, Direction direction, const MatmulShape& shape) const;
  // A fused attention core, forward or its whole backward (any gradient direction): recomputed
  // scores, dq, dk and dv. Always 16-bit unless the recipe is f32.
  Estimate attention(Recipe recipe, Direction direction, const AttentionShape& shape) const;
  // The batched products of an attention core that is not fused, which write and read all scores,
  // masked ones too: two forward, four in its backward. Without softmax and dropout between them.
  Estimate materialised_attention(Recipe recipe, Direction direction,
                                  const AttentionShape& shape) const;
  // A kernel that only moves data; `traffic` is the least it must read and write. Published tables
  // do not tell directions or recipes apart; a machine's own measurements do (machine_times.h).
  Estimate memory_bound(OpKind kind, Bytes traffic, Direction direction = Direction::Forward,
                        Recipe recipe = Recipe::F32) const;
  // A machine's activations packed to wait in the recipe's format (Forward) and unpacked; nothing
  // elsewhere.
  Estimate packing(Recipe recipe, Direction direction, double elements) const;
  // One pass of the optimizer over its state.
  Estimate optimizer(Bytes traffic) const;

 private:
  std::unique_ptr<MatmulTimes> matmul_;
  std::unique_ptr<AttentionTimes> attention_;
  std::unique_ptr<MemoryTimes> memory_;
  std::unique_ptr<MachineTimes> machine_;  // of a machine, in place of the others
};

}  // namespace narrows

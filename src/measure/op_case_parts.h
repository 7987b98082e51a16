// What the cases of op_case.h run, one function a family. Internal to src/measure.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include "measure/op_case.h"
#include "measure/rotating_memory.h"
#include "model/block.h"
#include "runtime/backend.h"

namespace narrows::op_parts {

using Run = std::function<void(Backend&, RotatingMemory&)>;

Run after(Run first, Run second);

// An operand in one of two forms.
struct Given {
  const float* wide = nullptr;
  const std::uint16_t* narrow = nullptr;
};
struct Made {
  float* wide = nullptr;
  std::uint16_t* narrow = nullptr;
};
// What the op before made, and what has waited for its gradient since forward.
Given recent(RotatingMemory& memory, std::int64_t count, bool narrow);
Given waited(RotatingMemory& memory, std::int64_t count, bool narrow);
// What will be kept, and what is read at once.
Made kept(RotatingMemory& memory, std::int64_t count, bool narrow);
Made fresh(RotatingMemory& memory, std::int64_t count, bool narrow);

// `narrow`, in all that follows: activations lie in bf16, as they do under that recipe where the
// backend makes it (Backend::makes_bf16). Gradients are floats but where matmuls alone read them.

// op_case_dense.cc
struct MatmulForms {
  std::int64_t stride = 0;  // elements from one row of the input to the next
  Multiply format = Multiply::F32;
  bool narrow = false;       // the input
  bool narrow_out = false;   // the output
  bool narrow_grad = false;  // the output's gradient
};
Run matmul(const MatmulShape& shape, Direction direction, const MatmulForms& forms);
// Its matmuls are f32 or, in any other format, bf16.
Run attention(const AttentionShape& shape, const AttentionSpec& spec, Direction direction,
              Multiply format, bool narrow);
Run rope(std::int64_t rows, const AttentionSpec& spec, const Sharding& sharding,
         Direction direction, bool narrow);

// op_case_norms.cc. `adds`: the gradient that goes round a block joins in.
Run norm(Rows32 in, std::int64_t columns, Direction direction, bool adds, bool narrow);
Run layer_norm(Rows32 in, Direction direction, bool adds);
// Heads of queries and keys, and what stands behind them in a row.
struct HeadRows {
  std::int64_t rows = 1, heads = 1, key_heads = 1;
  std::int64_t dim = 1, key_dim = 1;  // of a head
  std::int64_t stride = 1;
  std::int64_t count() const { return rows * stride; }
  std::int64_t weights() const { return dim + key_dim; }
};
Run head_norm(const HeadRows& in, Direction direction);
Run activation(Rows32 out, Direction direction, bool weighs, bool narrow);
Run gelu(Rows32 out, Direction direction);

// op_case_rows.cc
Run router(std::int64_t rows, const MoeSpec& moe, Direction direction);
// Received rows become copies, one an expert, and copies become rows again.
Run spread_rows(std::int64_t received, Rows32 copies, Direction direction, bool narrow);
Run merge_rows(std::int64_t received, Rows32 copies, Direction direction, bool narrow);
// Which token goes where.
Run plan(std::int64_t tokens, const MoeSpec& moe);
Run sum(std::int64_t count, bool narrow);
Run embedding(Rows32 out, std::int64_t table, Direction direction, bool narrow);
Run loss(Rows32 logits);
Run optimizer(std::int64_t parameters);
Run packing(std::int64_t floats, bool back);
Run copy(std::int64_t floats);

}  // namespace narrows::op_parts

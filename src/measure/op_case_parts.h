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

// op_case_dense.cc. Inputs of a matmul have rows of `stride` floats.
Run matmul(const MatmulShape& shape, Direction direction, std::int64_t stride, Multiply format);
// Its matmuls are f32 or, in any other format, bf16.
Run attention(const AttentionShape& shape, const AttentionSpec& spec, Direction direction,
              Multiply format);
Run rope(std::int64_t rows, const AttentionSpec& spec, const Sharding& sharding,
         Direction direction);

// op_case_norms.cc. `adds`: the gradient that goes round a block joins in.
Run norm(Rows32 in, std::int64_t columns, Direction direction, bool adds);
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
Run activation(Rows32 out, Direction direction, bool weighs);
Run gelu(Rows32 out, Direction direction);

// op_case_rows.cc
Run router(std::int64_t rows, const MoeSpec& moe, Direction direction);
// Received rows become copies, one an expert, and copies become rows again.
Run spread_rows(std::int64_t received, Rows32 copies);
Run merge_rows(std::int64_t received, Rows32 copies);
// Which token goes where.
Run plan(std::int64_t tokens, const MoeSpec& moe);
Run sum(std::int64_t count);
Run embedding(Rows32 out, std::int64_t table, Direction direction);
Run loss(Rows32 logits);
Run optimizer(std::int64_t parameters);
Run packing(std::int64_t floats, bool back);
Run copy(std::int64_t floats);

}  // namespace narrows::op_parts

// SPDX-License-Identifier: Apache-2.0
#include "kernels/bias.h"

#include "kernels/vector.h"

namespace narrows::kernels {

NARROWS_VECTORISED
void add_bias(const AddBias& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    float* y = op.y + r * op.columns;
    for (std::int64_t c = 0; c < op.columns; ++c) y[c] += op.bias[c];
    if (op.to_bf16) round_run(y, op.columns);
  }
}

NARROWS_VECTORISED
void bias_grad(const BiasGrad& op, std::int64_t first_column, std::int64_t last_column) {
  for (std::int64_t r = 0; r < op.rows; ++r) {
    const float* dy = op.dy + r * op.columns;
    for (std::int64_t c = first_column; c < last_column; ++c) op.dbias[c] += dy[c];
  }
}

NARROWS_VECTORISED
void gated_sum(const GatedSum& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float open = sigmoid_of(op.gate[r]);
    const std::int64_t row = r * op.columns;
    for (std::int64_t c = row; c < row + op.columns; ++c) op.y[c] = op.a[c] + open * op.x[c];
    if (op.to_bf16) round_run(op.y + row, op.columns);
  }
}

void gated_sum_grad(const GatedSumGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const std::int64_t columns = op.forward.columns;
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float open = sigmoid_of(op.forward.gate[r]);
    const float* dy = op.dy + r * columns;
    const float along = dot_of(dy, op.forward.x + r * columns, columns);
    op.dgate[r] = op.scale * open * (1.0f - open) * along;
    for (std::int64_t c = 0; c < columns; ++c) op.dx[r * columns + c] = open * dy[c];
  }
}

}  // namespace narrows::kernels

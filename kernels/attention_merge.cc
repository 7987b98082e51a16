// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/attention.h"
#include "kernels/elementary.h"
#include "kernels/vector.h"

namespace narrows::kernels {

void merge(const AttentionMerge& op, std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    for (std::int64_t h = 0; h < op.heads; ++h) {
      float& log_sum_exp = op.log_sum_exp[r * op.heads + h];
      const float other = op.other_log_sum_exp[r * op.heads + h];
      const float most = std::max(log_sum_exp, other);
      const float mine = exp_of(log_sum_exp - most);
      const float theirs = exp_of(other - most);
      const float sum = mine + theirs;
      float* out = op.out.data + r * op.out.row_stride + h * op.out.head_stride;
      const float* more = op.other.data + r * op.other.row_stride + h * op.other.head_stride;
      for (std::int64_t c = 0; c < op.v_dim; ++c) {
        out[c] = (mine * out[c] + theirs * more[c]) / sum;
      }
      if (op.to_bf16) round_run(out, op.v_dim);
      log_sum_exp = static_cast<float>(static_cast<double>(most) + natural_logarithm(sum));
    }
  }
}

}  // namespace narrows::kernels

// Cross-entropy of a token against its target over a vocabulary that may be split over ranks: first
// each part's maximum and sum of exponentials, then, with those of all parts joined, loss and
// gradient.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

// Columns [first, first + columns) of the vocabulary; rows `stride` apart.
struct LogitPart {
  float* logits = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
  std::int64_t first = 0;
  const std::int32_t* targets = nullptr;  // (rows), of the whole vocabulary
};

// What a part knows of a row; `target` is the target's logit, 0 where another part has it.
struct PartialSoftmax {
  float maximum = 0;
  float sum = 0;  // of exp(logit - maximum)
  float target = 0;
};
void partial_softmax(const LogitPart& part, PartialSoftmax* out, std::int64_t first_row,
                     std::int64_t last_row);
// Two parts of one row as one.
PartialSoftmax join(const PartialSoftmax& a, const PartialSoftmax& b);
// - log softmax of the target.
double cross_entropy(const PartialSoftmax& whole);
// The logits become their gradient: scale (softmax - one at the target).
void loss_grad(const LogitPart& part, const PartialSoftmax* whole, float scale,
               std::int64_t first_row, std::int64_t last_row);

}  // namespace narrows::kernels

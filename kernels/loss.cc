// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss.h"

#include <algorithm>

#include "kernels/elementary.h"
#include "kernels/vector.h"

namespace narrows::kernels {

NARROWS_VECTORISED
void partial_softmax(const LogitPart& part, PartialSoftmax* out, std::int64_t first_row,
                     std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    const float* logits = part.logits + r * part.stride;
    float lane[kLanes];
    for (int j = 0; j < kLanes; ++j) lane[j] = logits[0];
    std::int64_t c = 0;
    for (; c + kLanes <= part.columns; c += kLanes) {
      for (int j = 0; j < kLanes; ++j) lane[j] = logits[c + j] > lane[j] ? logits[c + j] : lane[j];
    }
    for (; c < part.columns; ++c) lane[0] = std::max(lane[0], logits[c]);
    float most = lane[0];
    for (int j = 1; j < kLanes; ++j) most = std::max(most, lane[j]);
    Lanes sums;
    for (c = 0; c + kLanes <= part.columns; c += kLanes) {
      for (int j = 0; j < kLanes; ++j) sums.lane[j] += exp_of(logits[c + j] - most);
    }
    for (; c < part.columns; ++c) sums.lane[c % kLanes] += exp_of(logits[c] - most);
    const std::int64_t target = part.targets[r] - part.first;
    const bool here = target >= 0 && target < part.columns;
    out[r] = {most, sums.sum(), here ? logits[target] : 0.0f};
  }
}

PartialSoftmax join(const PartialSoftmax& a, const PartialSoftmax& b) {
  const float most = std::max(a.maximum, b.maximum);
  return {most, a.sum * exp_of(a.maximum - most) + b.sum * exp_of(b.maximum - most),
          a.target + b.target};
}

double cross_entropy(const PartialSoftmax& whole) {
  return natural_logarithm(whole.sum) + (static_cast<double>(whole.maximum) - whole.target);
}

NARROWS_VECTORISED
void loss_grad(const LogitPart& part, const PartialSoftmax* whole, float scale,
               std::int64_t first_row, std::int64_t last_row) {
  for (std::int64_t r = first_row; r < last_row; ++r) {
    float* logits = part.logits + r * part.stride;
    const float most = whole[r].maximum;
    const float share = scale / whole[r].sum;
    for (std::int64_t c = 0; c < part.columns; ++c) logits[c] = exp_of(logits[c] - most) * share;
    const std::int64_t target = part.targets[r] - part.first;
    if (target >= 0 && target < part.columns) logits[target] -= scale;
    for (std::int64_t c = part.columns; c < part.stride; ++c) logits[c] = 0;
  }
}

}  // namespace narrows::kernels

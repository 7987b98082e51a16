// SPDX-License-Identifier: Apache-2.0
#include "kernels/router.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/vector.h"

namespace narrows::kernels {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void scores_of(const Router& op, const float* logits, float* scores) {
  if (op.sigmoid) {
    for (std::int64_t e = 0; e < op.experts; ++e) scores[e] = sigmoid_of(logits[e]);
    return;
  }
  const float most = *std::max_element(logits, logits + op.experts);
  float sum = 0;
  for (std::int64_t e = 0; e < op.experts; ++e) {
    scores[e] = exp_of(logits[e] - most);
    sum += scores[e];
  }
  for (std::int64_t e = 0; e < op.experts; ++e) scores[e] /= sum;
}

// The best of `values`, the first of equals.
std::int64_t best_of(const float* values, std::int64_t count) {
  return std::max_element(values, values + count) - values;
}

float group_score(const Router& op, const float* keys, std::int64_t group) {
  const std::int64_t size = op.experts / op.groups;
  const float* first = keys + group * size;
  const std::int64_t best = best_of(first, size);
  if (!op.sigmoid || size == 1) return first[best];
  float second = kNever;
  for (std::int64_t e = 0; e < size; ++e) {
    if (e != best) second = std::max(second, first[e]);
  }
  return first[best] + second;
}

// Experts outside the best groups can no longer be chosen.
void limit_groups(const Router& op, float* keys, float* group_scores) {
  const std::int64_t size = op.experts / op.groups;
  for (std::int64_t g = 0; g < op.groups; ++g) group_scores[g] = group_score(op, keys, g);
  for (std::int64_t i = 0; i < op.top_groups; ++i) {
    group_scores[best_of(group_scores, op.groups)] = kNever;
  }
  for (std::int64_t g = 0; g < op.groups; ++g) {
    if (group_scores[g] != kNever) std::fill_n(keys + g * size, size, kNever);
  }
}

// Adds the gradient of the balancing loss of a row.
void pull_scores(const RouterGrad& op, std::int64_t row, const std::vector<float>& scores,
                 std::vector<float>& dscores) {
  const float* pull = op.pull + op.pull_row[row] * op.forward.experts;
  float sum = 0;
  float inner = 0;
  for (std::size_t e = 0; e < scores.size(); ++e) {
    sum += scores[e];
    inner += pull[e] * scores[e];
  }
  inner /= sum;
  op.pulled[row] = inner;
  for (std::size_t e = 0; e < scores.size(); ++e) dscores[e] += (pull[e] - inner) / sum;
}

}  // namespace

void route(const Router& op, std::int64_t first_row, std::int64_t last_row) {
  std::vector<float> scores(static_cast<std::size_t>(op.experts));
  std::vector<float> keys(scores.size());
  std::vector<float> groups(static_cast<std::size_t>(op.groups));
  for (std::int64_t r = first_row; r < last_row; ++r) {
    scores_of(op, op.logits + r * op.experts, scores.data());
    for (std::int64_t e = 0; e < op.experts; ++e) {
      keys[static_cast<std::size_t>(e)] =
          scores[static_cast<std::size_t>(e)] + (op.bias == nullptr ? 0.0f : op.bias[e]);
    }
    if (op.top_groups < op.groups) limit_groups(op, keys.data(), groups.data());
    float* index = op.chosen + r * 3 * op.top_k;
    float* weight = index + op.top_k;
    float* score = weight + op.top_k;
    float sum = 0;
    for (std::int64_t k = 0; k < op.top_k; ++k) {
      const std::int64_t e = best_of(keys.data(), op.experts);
      index[k] = static_cast<float>(e);
      score[k] = scores[static_cast<std::size_t>(e)];
      sum += score[k];
      keys[static_cast<std::size_t>(e)] = kNever;
    }
    for (std::int64_t k = 0; k < op.top_k; ++k) {
      weight[k] = op.scale * (op.normalise ? score[k] / sum : score[k]);
    }
  }
}

void route_grad(const RouterGrad& op, std::int64_t first_row, std::int64_t last_row) {
  const Router& f = op.forward;
  std::vector<float> scores(static_cast<std::size_t>(f.experts));
  std::vector<float> dscores(scores.size());
  for (std::int64_t r = first_row; r < last_row; ++r) {
    scores_of(f, f.logits + r * f.experts, scores.data());
    std::fill(dscores.begin(), dscores.end(), 0.0f);
    const float* index = f.chosen + r * 3 * f.top_k;
    const float* score = index + 2 * f.top_k;
    const float* dweights = op.dweights + r * f.top_k;
    float sum = 0;
    float shared = 0;
    for (std::int64_t k = 0; k < f.top_k; ++k) {
      sum += score[k];
      shared += dweights[k] * score[k];
    }
    for (std::int64_t k = 0; k < f.top_k; ++k) {
      dscores[static_cast<std::size_t>(index[k])] =
          f.scale * (f.normalise ? (dweights[k] - shared / sum) / sum : dweights[k]);
    }
    if (op.pull != nullptr) pull_scores(op, r, scores, dscores);
    float* dlogits = op.dlogits + r * f.experts;
    float inner = 0;
    for (std::size_t e = 0; e < scores.size(); ++e) inner += dscores[e] * scores[e];
    for (std::size_t e = 0; e < scores.size(); ++e) {
      dlogits[e] = f.sigmoid ? dscores[e] * scores[e] * (1.0f - scores[e])
                             : scores[e] * (dscores[e] - inner);
    }
  }
}

}  // namespace narrows::kernels

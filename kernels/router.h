// Chooses a token's experts (deepseek2024 §2.1.2): scores s = softmax or sigmoid of the logits; the
// top_groups groups of experts with the best group score (softmax: the best expert, deepseekv2;
// sigmoid: the sum of the best two, deepseek2024), in them the top_k experts by s + bias. Their
// weights are s, divided by their sum where `normalise`, times `scale`; the bias chooses and does
// not weigh. Of equal scores the lower expert wins.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::kernels {

struct Router {
  const float* logits = nullptr;  // (rows, experts)
  const float* bias = nullptr;    // (experts), or null
  // (rows, 3 top_k): the chosen experts, their weights, their scores.
  float* chosen = nullptr;
  std::int64_t rows = 0;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t groups = 1;
  std::int64_t top_groups = 1;
  bool sigmoid = false;
  bool normalise = true;
  float scale = 1;
};
void route(const Router& op, std::int64_t first_row, std::int64_t last_row);

struct RouterGrad {
  Router forward;
  const float* dweights = nullptr;  // (rows, top_k)
  float* dlogits = nullptr;         // (rows, experts), written
  // Of a balancing loss, or null: row r's is the sum over experts of pull[pull_row[r]] times the
  // expert's share of the row's scores; left in `pulled`.
  const float* pull = nullptr;             // (…, experts)
  const std::int32_t* pull_row = nullptr;  // (rows)
  float* pulled = nullptr;                 // (rows), written
};
void route_grad(const RouterGrad& op, std::int64_t first_row, std::int64_t last_row);

}  // namespace narrows::kernels

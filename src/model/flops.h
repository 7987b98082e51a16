// Training FLOPs per token as published figures count them: forward, input gradients and weight
// gradients of matmuls and of the attention core, recomputation never. 6 per matmul weight that a
// token meets, and 6 heads (d_qk + d_v) per key that it attends to. Papers differ in what they
// leave out; a FLOP rate or MFU means nothing without its convention.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "model/spec.h"

namespace narrows {

// For DeepSeek-V3 at a sequence of 4096, in GFLOP a token:
enum class FlopsConvention {
  DeepSeek,      // 249.81: causal, head once, no router, no MTP (the 38.94 % MFU of isca2025)
  DeepSeekFull,  // 280.51: the whole attention matrix instead of its lower triangle (43.73 %)
  Megatron,  // 259.99: causal, MTP blocks with their heads, no router (Megatron-LM's own formula)
  SixN       // 219.75: 6 times the matmul weights that a token meets, router and head included, no
             // attention core
};
std::string to_string(FlopsConvention convention);  // "deepseek" "deepseek-full" "megatron" "6N"
std::optional<FlopsConvention> flops_convention_of(std::string_view name);
const std::vector<FlopsConvention>& all_flops_conventions();

// What a convention counts beside layers and one head.
struct FlopsRule {
  bool attention_core = true;
  bool causal = true;  // half of the attention matrix (a window: its band) instead of all
  bool router = false;
  bool mtp = false;  // MTP blocks: their layer, projection and head
};
FlopsRule rule_of(FlopsConvention convention);

// `sequence` in tokens, at least 1. The attention of S tokens meets S/2 keys a token where causal;
// a window of w < S tokens meets w - w^2 / 2S.
Flops training_flops_per_token(const ModelSpec& model, std::int64_t sequence,
                               const FlopsRule& rule);
Flops training_flops_per_token(const ModelSpec& model, std::int64_t sequence,
                               FlopsConvention convention);

}  // namespace narrows

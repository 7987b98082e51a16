// SPDX-License-Identifier: Apache-2.0
#include "runtime/supported.h"

#include <fmt/format.h>

#include "model/context.h"

namespace narrows {
namespace {

// The first thing of the model that no op of the runtime does; "" = none.
std::string unknown_part(const ModelSpec& m) {
  const bool latent = m.attention.kind == AttentionKind::Mla;
  if (m.norm == NormKind::Layer && (latent || m.mtp_layers > 0))
    return latent ? "LayerNorm beside latents" : "LayerNorm beside multi-token prediction";
  if (m.moe && m.activation == Activation::Gelu) return "experts with GELU";
  if (m.moe && m.linear_bias) return "experts with biases";
  if (latent && (m.linear_bias || m.attention.qkv_bias)) return "biases of latents";
  if (m.learned_positions > 0 && latent) return "learned positions beside latents";
  if (m.packed_samples > 0) return "packed samples";
  if (m.lora_rank > 0) return "adapters beside frozen weights";
  if (m.mtp_layers > 1) return "more than one depth of multi-token prediction";
  return "";
}

}  // namespace

Status check_supported(const Plan& plan) {
  const std::string part = unknown_part(plan.model);
  if (!part.empty()) {
    return unsupported(fmt::format("{}: the runtime does not train {} yet", plan.model.name, part));
  }
  const Strategy& s = plan.strategy;
  if (s.precision != Recipe::F32 && s.precision != Recipe::Bf16 &&
      s.precision != Recipe::Fp8Block) {
    return unsupported(
        fmt::format("precision={}: expected f32, bf16 or fp8-block, the recipes that the "
                    "runtime multiplies in",
                    to_string(s.precision)));
  }
  if (plan.model.attention.qk_norm == QkNorm::Full && s.tp > 1) {
    return unsupported(
        fmt::format("tp={}: expected 1, as {} normalises queries and keys over all heads", s.tp,
                    plan.model.name));
  }
  const ContextExchange context = context_exchange_of(plan.comm.cp).value_or(ContextExchange());
  if (s.cp > 1 && !spreads(context, plan.model.attention, s.tp, s.cp)) {
    return unsupported(
        fmt::format("cp by {}: expected heads and KV heads of a rank that are divisible by cp={}",
                    plan.comm.cp, s.cp));
  }
  const int positions = plan.model.learned_positions;
  if (positions > 0 && plan.training.sequence > positions) {
    return unsupported(fmt::format("sequence={}: expected at most the {} learned positions",
                                   plan.training.sequence, positions));
  }
  return {};
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "runtime/supported.h"

#include <fmt/format.h>

#include "model/context.h"

namespace narrows {
namespace {

// The first thing of the model that no op of the runtime does; "" = none.
std::string unknown_part(const ModelSpec& m) {
  if (m.activation != Activation::SwiGlu) return "GELU";
  if (m.norm != NormKind::Rms) return "LayerNorm";
  if (m.linear_bias || m.attention.qkv_bias) return "biases";
  if (m.learned_positions > 0) return "learned positions";
  if (m.packed_samples > 0) return "packed samples";
  if (m.lora_rank > 0) return "adapters beside frozen weights";
  if (m.numerics && !m.numerics->rope_scaling.empty())
    return "rotary positions scaled by " + m.numerics->rope_scaling;
  if (m.mtp_layers > 1) return "more than one depth of multi-token prediction";
  if (m.attention.qk_norm != QkNorm::None) return "normalised queries and keys";
  if (m.moe && m.moe->shared_gate) return "a gate on the shared expert";
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
  const ContextExchange context = context_exchange_of(plan.comm.cp).value_or(ContextExchange());
  if (s.cp > 1 && !spreads(context, plan.model.attention, s.tp, s.cp)) {
    return unsupported(
        fmt::format("cp by {}: expected heads and KV heads of a rank that are divisible by cp={}",
                    plan.comm.cp, s.cp));
  }
  if (s.ep > 1 && plan.comm.ep == "all-gather") {
    return unsupported(
        "ep by all-gather: expected all-to-all or deepep, which send tokens only where "
        "their experts are");
  }
  if (plan.model.attention.kind == AttentionKind::Gqa &&
      plan.model.attention.kv_heads % s.tp != 0) {
    return unsupported(fmt::format("tp={}: the runtime splits KV heads, and {} are not divisible",
                                   s.tp, plan.model.attention.kv_heads));
  }
  return {};
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "model/flops.h"

#include "base/result.h"
#include "model/parameters.h"

namespace narrows {
namespace {

// Weights of the item's matmuls that one token meets.
double weights_met(const ModelSpec& model, const MatmulWeights& w, const FlopsRule& rule) {
  const double experts = model.moe ? model.moe->top_k * w.expert : 0;
  return w.attention + w.ffn + w.shared + experts + w.projection + w.head +
         (rule.router ? w.router : 0);
}

// Keys that a token attends to, on average.
double keys_met(double sequence, double window, bool causal) {
  const double half =
      window > 0 && window < sequence ? window - window * window / (2 * sequence) : sequence / 2;
  return causal ? half : 2 * half;
}

// Layers with a window and without one; an MTP block attends like the layer it would be.
struct LayersByWindow {
  int with = 0;
  int without = 0;
};

LayersByWindow count_windows(const ModelSpec& model, int layers) {
  LayersByWindow count;
  for (int layer = 0; layer < layers; ++layer)
    ++(has_window(model, layer) ? count.with : count.without);
  return count;
}

}  // namespace

std::string to_string(FlopsConvention convention) {
  switch (convention) {
    case FlopsConvention::DeepSeek:
      return "deepseek";
    case FlopsConvention::DeepSeekFull:
      return "deepseek-full";
    case FlopsConvention::Megatron:
      return "megatron";
    case FlopsConvention::SixN:
      return "6N";
  }
  return "";
}

const std::vector<FlopsConvention>& all_flops_conventions() {
  static const std::vector<FlopsConvention> conventions = {
      FlopsConvention::DeepSeek, FlopsConvention::DeepSeekFull, FlopsConvention::Megatron,
      FlopsConvention::SixN};
  return conventions;
}

std::optional<FlopsConvention> flops_convention_of(std::string_view name) {
  for (const FlopsConvention convention : all_flops_conventions()) {
    if (to_string(convention) == name) return convention;
  }
  return std::nullopt;
}

FlopsRule rule_of(FlopsConvention convention) {
  switch (convention) {
    case FlopsConvention::DeepSeek:
      return {};
    case FlopsConvention::DeepSeekFull:
      return {.causal = false};
    case FlopsConvention::Megatron:
      return {.mtp = true};
    case FlopsConvention::SixN:
      return {.attention_core = false, .router = true};
  }
  return {};
}

Flops training_flops_per_token(const ModelSpec& model, std::int64_t sequence,
                               const FlopsRule& rule) {
  ASSERT(sequence >= 1);
  double weights = 0;
  for (const ItemKind kind : items_of(model)) {
    if (kind == ItemKind::MtpBlock && !rule.mtp) continue;
    weights += weights_met(model, matmul_weights(model, kind), rule);
  }
  double key_layers = 0;  // keys of a token, summed over layers
  if (rule.attention_core) {
    const double s = static_cast<double>(sequence);
    const LayersByWindow layers =
        count_windows(model, model.layers + (rule.mtp ? model.mtp_layers : 0));
    key_layers = layers.without * keys_met(s, 0, rule.causal) +
                 layers.with * keys_met(s, model.attention.window, rule.causal);
  }
  const AttentionSpec& a = model.attention;
  const double core = static_cast<double>(a.heads) * (a.qk_dim() + a.value_dim()) * key_layers;
  // A frozen weight meets a token twice: forward and for the input gradient. Adapters are too small
  // to count.
  return ((model.lora_rank > 0 ? 4 : 6) * weights + 6 * core) * flop;
}

Flops training_flops_per_token(const ModelSpec& model, std::int64_t sequence,
                               FlopsConvention convention) {
  return training_flops_per_token(model, sequence, rule_of(convention));
}

}  // namespace narrows

// SPDX-License-Identifier: Apache-2.0
#include "model/spec.h"

#include <algorithm>

namespace narrows {

std::int64_t sample_tokens(const ModelSpec& model, std::int64_t sequence) {
  if (model.packed_samples <= 0) return sequence;
  return std::min<std::int64_t>(model.packed_samples, sequence);
}

bool is_moe_layer(const ModelSpec& model, int layer) {
  if (!model.moe || layer < model.moe->dense_layers) return false;
  return (layer - model.moe->dense_layers + 1) % model.moe->layer_step == 0;
}

bool has_window(const ModelSpec& model, int layer) {
  const AttentionSpec& a = model.attention;
  if (a.window == 0) return false;
  return a.window_every == 1 || (layer + 1) % a.window_every != 0;
}

std::vector<ItemKind> items_of(const ModelSpec& model) {
  std::vector<ItemKind> items = {ItemKind::Embedding};
  for (int layer = 0; layer < model.layers; ++layer) {
    items.push_back(is_moe_layer(model, layer) ? ItemKind::MoeLayer : ItemKind::DenseLayer);
  }
  items.insert(items.end(), static_cast<std::size_t>(model.mtp_layers), ItemKind::MtpBlock);
  items.push_back(ItemKind::Head);
  return items;
}

std::string to_string(ItemKind kind) {
  switch (kind) {
    case ItemKind::Embedding:
      return "embedding";
    case ItemKind::DenseLayer:
      return "dense layer";
    case ItemKind::MoeLayer:
      return "moe layer";
    case ItemKind::MtpBlock:
      return "mtp block";
    case ItemKind::Head:
      return "head";
  }
  return "";
}

}  // namespace narrows
